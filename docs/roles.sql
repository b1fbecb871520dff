-- The roles of the database `sniffer`, as `sniffer migrate --grants` prints them.
-- Made from the code by `make docs`; do not edit.
CREATE ROLE IF NOT EXISTS sniffer_migrate;
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW ON `sniffer`.* TO sniffer_migrate;
CREATE ROLE IF NOT EXISTS sniffer_scan;
GRANT SELECT ON `sniffer`.alembic_version TO sniffer_scan;
GRANT SELECT ON `sniffer`.models TO sniffer_scan;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.scans TO sniffer_scan;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.images TO sniffer_scan;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.predictions TO sniffer_scan;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.tallies TO sniffer_scan;
GRANT SELECT, INSERT, UPDATE, DELETE ON `sniffer`.leases TO sniffer_scan;
CREATE ROLE IF NOT EXISTS sniffer_trainer;
GRANT SELECT ON `sniffer`.alembic_version TO sniffer_trainer;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.models TO sniffer_trainer;
GRANT SELECT, INSERT ON `sniffer`.verdicts TO sniffer_trainer;
GRANT SELECT, INSERT, UPDATE ON `sniffer`.reports TO sniffer_trainer;
CREATE ROLE IF NOT EXISTS sniffer_rollout;
GRANT SELECT ON `sniffer`.alembic_version TO sniffer_rollout;
GRANT SELECT, UPDATE ON `sniffer`.models TO sniffer_rollout;
GRANT SELECT, INSERT ON `sniffer`.promotions TO sniffer_rollout;
GRANT SELECT ON `sniffer`.scans TO sniffer_rollout;
GRANT SELECT ON `sniffer`.leases TO sniffer_rollout;
GRANT SELECT ON `sniffer`.images TO sniffer_rollout;
GRANT SELECT ON `sniffer`.predictions TO sniffer_rollout;
CREATE ROLE IF NOT EXISTS sniffer_reader;
GRANT SELECT, SHOW VIEW ON `sniffer`.* TO sniffer_reader;
