//! Directives: one table, from which redis.conf, the command line, CONFIG and the reference derive.
