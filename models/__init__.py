"""What is kept and can never be broken: tables, constraints, guarded writes, locks, migrations."""
