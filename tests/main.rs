//! The journeys: each file starts the real binary and talks to it over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::format_collect,
    clippy::unchecked_time_subtraction,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test that finds something else than it expects has to fail, and reads as prose"
)]

#[macro_use]
mod support;

mod alerts;
mod architecture;
mod backup;
mod basic;
mod bisecting;
mod budget;
mod catalogue;
mod changes;
mod changesets;
mod chaos;
mod cli;
mod clients;
mod clients_wait;
mod cloudformation;
mod completions;
mod confirm;
mod connect;
mod connect_again;
mod connect_moto;
mod corrupt;
mod crash;
mod crowd;
mod disk;
mod distributions;
mod doctor;
mod doctor_moto;
mod documents;
mod drain;
mod dry_run;
mod emulator;
mod fairness;
mod fargate;
mod follow;
mod forged;
mod hold_times;
mod holds;
mod hostile;
mod iam;
mod idempotency;
mod key_listing;
mod leadership;
mod letters;
mod load;
mod lost_writes;
mod man;
mod manual;
mod manual_keys;
mod mapping;
mod mapping_points;
mod mapping_waits;
mod measured;
mod memory;
mod merged;
mod merging;
mod model;
mod notices;
mod openapi;
mod operate;
mod outbound;
mod page;
mod patience;
mod plan_files;
mod plan_merged;
mod probing;
mod recipes;
mod redrive;
mod refused;
mod replicas;
mod request_ids;
mod resync;
mod resync_moto;
mod retention;
mod retries;
mod schemathesis;
mod secrets;
mod set_back;
mod shared_sessions;
mod shared_store;
mod simulation;
mod sizes;
mod soak;
mod sqlite_upgrade;
mod stop;
mod store_contract;
mod store_copy;
mod store_looked_at;
mod supervision;
mod tls;
mod tokens;
mod told;
mod tracking;
mod turns;
mod upload;
mod verify;
mod viewers;
mod waiting;
mod weaknesses;
