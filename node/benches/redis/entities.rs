//! Acknowledged commands through entities: many of them, and one that is hot.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use crate::bare::{Bare, Events, Flights};
use crate::notes::{self, NotesRef};
use crate::servers::Servers;
use crate::turns::{in_turns, rate, runtime, show_rate, turn};

const CALLERS: usize = 256;
const ENTITIES: usize = 1000;

/// Commands that so many callers have answered in a second.
pub(crate) async fn commands(entities: &Arc<Vec<NotesRef>>, callers: usize) -> f64 {
    let until = Instant::now() + turn();
    rate((0..callers).map(|caller| notes::call(Arc::clone(entities), caller, until))).await
}

pub(crate) fn entities() {
    let runtime = runtime();
    let (servers, region, entities, mut bare, mut batching) = runtime.block_on(async {
        let servers = Servers::cluster().await;
        let region = notes::region(Arc::new(servers.store().await)).await;
        let entities = Arc::new(notes::entities(&region, ENTITIES));
        // As many shards as the entities lie in, or almost.
        let bare = Bare::new(&servers, "bare", ENTITIES, 1).await;
        let batching = Bare::new(&servers, "batching", 2 * CALLERS, 16).await;
        (servers, region, entities, bare, batching)
    });
    let like = Cell::new(Flights { scripts: 1.0, events: Events::About(1.0) });
    let [ours, baseline, sixteen] = in_turns([
        &mut || {
            runtime.block_on(async {
                let before = servers.counted().await;
                let start = Instant::now();
                let rate = commands(&entities, CALLERS).await;
                let events = rate * start.elapsed().as_secs_f64();
                like.set(Flights::seen(servers.counted().await - before, events));
                rate
            })
        },
        &mut || runtime.block_on(bare.rate(like.get(), Instant::now() + turn())),
        &mut || {
            let like = Flights { events: Events::UpTo(16), ..like.get() };
            runtime.block_on(batching.rate(like, Instant::now() + turn()))
        },
    ]);
    show_rate(
        "acknowledged commands, 256 callers, 1 000 entities, against a bare client that sends the same scripts",
        ours,
        baseline,
        0.5,
    );
    println!("    {:?}", like.get());
    println!(
        "    against the bare client with 1 to 16 events a script, {sixteen:.0}/s: {:.2}",
        ours / sixteen
    );
    runtime.block_on(region.stop());
}

pub(crate) fn hot() {
    let runtime = runtime();
    let (_servers, region, many, one) = runtime.block_on(async {
        let servers = Servers::cluster().await;
        let region = notes::region(Arc::new(servers.store().await)).await;
        let many = notes::entities(&region, ENTITIES);
        let one = vec![region.entity(notes::id(ENTITIES).id).unwrap()];
        (servers, region, Arc::new(many), Arc::new(one))
    });
    let [ours, baseline] = in_turns([&mut || runtime.block_on(commands(&one, 64)), &mut || {
        runtime.block_on(commands(&many, 64))
    }]);
    show_rate(
        "one hot event-sourced entity, 64 callers, against the same load over 1 000",
        ours,
        baseline,
        0.3,
    );
    runtime.block_on(region.stop());
}
