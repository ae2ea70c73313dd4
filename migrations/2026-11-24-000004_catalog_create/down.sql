DROP TABLE pricing_tiers;
DROP TABLE plan_versions;
DROP TABLE plans;
DROP TABLE metrics;
DROP TABLE service_keys;
DROP TABLE services;
