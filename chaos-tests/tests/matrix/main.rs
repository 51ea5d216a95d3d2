//! The failover matrix: what is acknowledged under load survives each fault, once and in order, and nobody waits
//! for ever.
//!
//! Ten cells run with the other tests. `make matrix` runs all of them; `ABIDE_MATRIX="kill 3+6 all"` picks some, and
//! `ABIDE_MATRIX_SERVER=valkey` plays on Valkey, where `WAIT` has another rule.
//! Each prints what it found; pauses are printed and not judged.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod cell;
#[path = "../common/mod.rs"]
mod common;
#[path = "../store/connecting.rs"]
#[allow(dead_code, reason = "a cluster is not alone")]
mod connecting;
#[path = "../load/mod.rs"]
mod load;
mod run;
mod stage;

use std::time::Duration;

use abide_chaos_tests::redis::{Ground, Server};

use cell::Cell;

/// The longest that a cell may take.
const CELL_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_telling_cells_keep_what_they_promise() {
    keep_what_they_promise(&Cell::telling(), Server::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour; `make matrix` runs it"]
async fn all_cells_keep_what_they_promise() {
    let line = std::env::var("ABIDE_MATRIX").unwrap_or_default();
    let cells = Cell::picked(&line);
    assert!(!cells.is_empty(), "ABIDE_MATRIX={line:?} picks no cell");
    let server = match std::env::var("ABIDE_MATRIX_SERVER").as_deref() {
        Ok("valkey") => Server::Valkey,
        Ok("redis") | Err(_) => Server::Redis,
        Ok(other) => panic!("ABIDE_MATRIX_SERVER={other:?}: there are redis and valkey"),
    };
    keep_what_they_promise(&cells, server).await;
}

async fn keep_what_they_promise(cells: &[Cell], server: Server) {
    let mut faults = Vec::new();
    let mut ground: Option<(usize, bool, Ground)> = None;
    for cell in cells {
        let (replicas, cuts) = (cell.replicas, cell.fault.cuts());
        if !matches!(ground, Some((r, c, _)) if (r, c) == (replicas, cuts)) {
            // The old servers end before the new ones begin.
            drop(ground.take());
            let plan = Ground::cluster(3, replicas).server(server);
            let plan = if cuts { plan.in_containers() } else { plan };
            ground = Some((replicas, cuts, plan.start().await.unwrap()));
        }
        let Some((_, _, servers)) = &ground else { continue };
        if cuts && !servers.can_cut() {
            println!("{cell}: left out, because a process cannot be cut off");
            continue;
        }
        match tokio::time::timeout(CELL_WITHIN, run::run(*cell, servers)).await {
            Ok(Ok(report)) => {
                println!("{report}");
                faults.extend(report.faults());
                continue;
            }
            Ok(Err(error)) => faults.push(format!("{cell}: {error:#}")),
            Err(_) => faults.push(format!("{cell}: did not end within {CELL_WITHIN:?}")),
        }
        println!("{}", faults[faults.len() - 1]);
        // Nobody knows in what state they are.
        ground = None;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
