//! `hsm` moves cold files of a Linux server to an object store, leaves a stub,
//! and brings a file back when anyone wants it.
//!
//! The house has floors; a room imports only rooms on lower floors
//! (docs/ARCHITECTURE.md has the map, tests/architecture.rs holds it):
//!
//! | floor | rooms |
//! | --- | --- |
//! | 6 | `cli`: the only room that prints and knows exit codes |
//! | 5 | `guard`: kernel events in, exactly one answer each out; `report`: the policy workbench |
//! | 4 | `tier`, `recall`, `adopt`, `verify`, `restore`, `rebuild`, `export`, `gc`, `backup`: operations, which join two truths |
//! | 3 | `site`: the truths of one configured hsm, opened together |
//! | 2 | `state`, `store`, `stub`, `scan`: the truths, which do not know each other |
//! | 1 | `policy`, `chunk`, `manifest`, `config`: pure |
//! | 0 | `os`, `document`, `ids`, `monitor`, `metrics`, `errand`, `units`, `clock`, `fault` |

pub mod adopt;
pub mod backup;
pub mod catalog;
pub mod chunk;
pub mod classes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod document;
pub mod errand;
pub mod export;
pub mod fault;
pub mod gc;
pub mod guard;
pub mod ids;
pub mod manifest;
pub mod metrics;
pub mod monitor;
pub mod os;
pub mod policy;
pub mod rebuild;
pub mod recall;
pub mod report;
pub mod restore;
pub mod scan;
pub mod site;
pub mod state;
pub mod store;
pub mod stub;
pub mod tier;
pub mod units;
pub mod verify;
