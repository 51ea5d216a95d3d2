//! Runs async work for tests that are not async, on a thread and a runtime of its own: it works in a plain
//! test and inside any runtime.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

pub(super) struct Stage {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// Told whenever no task can go on by itself.
    idle: Arc<Notify>,
}

impl Stage {
    #[track_caller]
    pub(super) fn new() -> Self {
        let idle = Arc::new(Notify::new());
        let told = Arc::clone(&idle);
        let mut builder = Builder::new_current_thread();
        let built = builder.enable_all().on_thread_park(move || told.notify_waiters()).build();
        match built {
            Ok(runtime) => Self { runtime: Some(runtime), idle },
            Err(cause) => panic!("no runtime for the test: {cause}"),
        }
    }

    /// Runs the work, then whatever it has set off, until only time could bring more.
    pub(super) fn run<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let Some(runtime) = &self.runtime else { unreachable!("a stage that is dropped runs nothing") };
        let all = async {
            let result = work.await;
            self.idle.notified().await;
            result
        };
        // Named as the test's own thread, so that the panic of an entity is told under the test's name.
        let name = thread::current().name().unwrap_or("test").to_owned();
        let joined = thread::scope(|scope| {
            let spawned = thread::Builder::new().name(name).spawn_scoped(scope, || runtime.block_on(all));
            spawned.map(thread::ScopedJoinHandle::join)
        });
        match joined {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(cause) => panic!("no thread for the test: {cause}"),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would panic inside another runtime; there is nothing to wait for.
            runtime.shutdown_background();
        }
    }
}
