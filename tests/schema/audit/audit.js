// node audit.js URL... : exits 1 if an audit of any endpoint ends in an error or a warning.
import { auditServer } from 'graphql-http';

let failed = false;
for (const url of process.argv.slice(2)) {
  const results = await auditServer({ url, fetchFn: fetch });
  const count = { ok: 0, notice: 0, warn: 0, error: 0 };
  for (const { id, name, status, ...rest } of results) {
    count[status] += 1;
    if (status !== 'ok') {
      console.log(`${status.padEnd(6)} ${id} ${name}: ${rest.reason}`);
    }
  }
  console.log(`${url}: ${JSON.stringify(count)}`);
  failed ||= count.warn > 0 || count.error > 0 || results.length === 0;
}
process.exit(failed ? 1 : 0);
