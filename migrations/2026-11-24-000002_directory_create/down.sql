DROP TABLE group_members;
DROP TABLE groups;
DROP TABLE user_roles;
DROP TABLE users;
DROP TABLE tenants;
DROP TABLE partners;
