"""What the ledgers of points and growth value promise, and the tier that follows from them."""

from resolvers.invariants.invariant import Invariant

POINTS = (
    Invariant(
        name="points_balance",
        promise="a member's points balance = sum of the entries = sum of what remains in the lots",
        offenders="""
            SELECT account.member_id, account.balance, coalesce(entry.total, 0) AS entries,
                coalesce(lot.total, 0) AS lots
            FROM points_account account
            LEFT JOIN (SELECT member_id, sum(amount) AS total FROM points_entry GROUP BY 1) entry USING (member_id)
            LEFT JOIN (SELECT member_id, sum(remaining) AS total FROM points_lot GROUP BY 1) lot USING (member_id)
            WHERE account.balance <> coalesce(entry.total, 0) OR account.balance <> coalesce(lot.total, 0)
        """,
    ),
    Invariant(
        name="points_held",
        promise="a member's held points = sum of the pending holds = sum of what is held in the lots",
        offenders="""
            SELECT account.member_id, account.held, coalesce(hold.total, 0) AS holds, coalesce(lot.total, 0) AS lots
            FROM points_account account
            LEFT JOIN (SELECT member_id, sum(amount) AS total FROM points_hold WHERE state = 'pending' GROUP BY 1) hold
                USING (member_id)
            LEFT JOIN (SELECT member_id, sum(held) AS total FROM points_lot GROUP BY 1) lot USING (member_id)
            WHERE account.held <> coalesce(hold.total, 0) OR account.held <> coalesce(lot.total, 0)
        """,
    ),
    Invariant(
        name="points_hold_draws",
        promise="a points hold = sum of its draws",
        offenders="""
            SELECT hold.id, hold.amount, coalesce(sum(draw.amount), 0) AS draws FROM points_hold hold
            LEFT JOIN points_hold_draw draw ON draw.hold_id = hold.id
            GROUP BY hold.id HAVING hold.amount <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_debt",
        promise="a member's points debt = sum of the debt changes",
        offenders="""
            SELECT account.member_id, account.debt, coalesce(entry.total, 0) AS entries FROM points_account account
            LEFT JOIN (SELECT member_id, sum(debt_change) AS total FROM points_entry GROUP BY 1) entry USING (member_id)
            WHERE account.debt <> coalesce(entry.total, 0)
        """,
    ),
    Invariant(
        name="points_draws",
        promise="an entry = sum of its draws",
        offenders="""
            SELECT entry.id, entry.member_id, entry.amount, coalesce(sum(draw.amount), 0) AS draws
            FROM points_entry entry LEFT JOIN points_draw draw ON draw.entry_id = entry.id
            GROUP BY entry.id HAVING entry.amount <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_lots",
        promise="what remains in a lot = sum of its draws",
        offenders="""
            SELECT lot.id, lot.member_id, lot.remaining, coalesce(sum(draw.amount), 0) AS draws
            FROM points_lot lot LEFT JOIN points_draw draw ON draw.lot_id = lot.id
            GROUP BY lot.id HAVING lot.remaining <> coalesce(sum(draw.amount), 0)
        """,
    ),
    Invariant(
        name="points_sequence",
        promise="a member's points entries are numbered 1, 2, 3 … and each balance is the one before plus the amount",
        offenders="""
            SELECT member_id, seq, balance_after FROM (
                SELECT member_id, seq, balance_after,
                    row_number() OVER step AS wanted_seq, sum(amount) OVER step AS wanted_balance
                FROM points_entry WINDOW step AS (PARTITION BY member_id ORDER BY seq)
            ) walked WHERE seq <> wanted_seq OR balance_after <> wanted_balance
        """,
    ),
    Invariant(
        name="growth_balance",
        promise="a member's growth value = sum of the growth entries, numbered without a gap",
        offenders="""
            SELECT membership.member_id, membership.growth_value, coalesce(entry.total, 0) AS entries
            FROM membership LEFT JOIN (
                SELECT member_id, sum(amount) AS total, count(*) AS many, max(seq) AS last FROM growth_entry GROUP BY 1
            ) entry USING (member_id)
            WHERE membership.growth_value <> coalesce(entry.total, 0)
               OR coalesce(entry.many, 0) <> coalesce(entry.last, 0)
        """,
    ),
    Invariant(
        name="growth_sequence",
        promise="each growth balance is the one before plus the amount",
        offenders="""
            SELECT member_id, seq, balance_after FROM (
                SELECT member_id, seq, balance_after,
                    sum(amount) OVER (PARTITION BY member_id ORDER BY seq) AS wanted FROM growth_entry
            ) walked WHERE balance_after <> wanted
        """,
    ),
    Invariant(
        name="tier_history",
        promise="a member's own tier is the one that the last change in the history left",
        offenders="""
            SELECT membership.member_id, membership.tier_code, last.to_code FROM membership JOIN (
                SELECT DISTINCT ON (member_id) member_id, to_code FROM tier_change
                WHERE reason NOT IN ('trial_started', 'trial_ended', 'override', 'override_ended')
                ORDER BY member_id, growth_seq DESC, id DESC
            ) last USING (member_id) WHERE membership.tier_code <> last.to_code
        """,
    ),
)
