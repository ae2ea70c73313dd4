DROP TABLE notifications;
DROP TABLE quota_notices;
DROP TABLE usage_uniques;
DROP TABLE usage_segment_totals;
DROP TABLE usage_totals;
DROP TABLE usage_events;
DROP TABLE usage_keys;
