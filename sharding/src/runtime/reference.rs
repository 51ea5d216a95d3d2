//! Asking an entity from Rust, by type and id.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use abide_persistence::engine::{Body, Message};
use abide_persistence::model::{Answer, Caller, Failure, Format, Payload, PersistentActor, Reply};

use super::ask::{Ask, AskAll, AskError};
use super::region::{Address, Region};

/// An entity by its name. It need not exist yet, nor be in memory; asking it brings it there.
pub struct EntityRef<A: PersistentActor> {
    region: Region,
    address: Address,
    entity: PhantomData<fn(A)>,
}

impl<A: PersistentActor> Clone for EntityRef<A> {
    fn clone(&self) -> Self {
        Self { region: self.region.clone(), address: self.address.clone(), entity: PhantomData }
    }
}

impl<A: PersistentActor> std::fmt::Debug for EntityRef<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EntityRef").field(&self.address).finish()
    }
}

/// What an entity's command comes to.
pub type Asked<A> = Result<<A as PersistentActor>::Reply, AskError<<A as PersistentActor>::Rejection>>;

impl<A: PersistentActor> EntityRef<A> {
    pub(crate) fn new(region: Region, address: Address) -> Self {
        Self { region, address, entity: PhantomData }
    }

    /// The entity's full name.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a command and waits for the reply, at most as long as the region's deadline.
    ///
    /// # Errors
    /// The entity's rejection, or a failure that says whether the command may have taken effect.
    pub async fn ask(&self, command: A::Command) -> Asked<A> {
        let (ask, waiting) = Ask::new();
        let caller = Caller::new(waiting, 0, Format::Local);
        self.region.send(&self.address, Message::Command(Body::Local(Box::new(command))), Some(caller), None);
        asked::<A>(ask.await)
    }

    /// Sends a command and waits for the reply, at most this long.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and the time-out.
    pub async fn ask_within(&self, command: A::Command, limit: Duration) -> Asked<A> {
        let message = Message::Command(Body::Local(Box::new(command)));
        asked::<A>(self.region.ask(&self.address, message, Format::Local, limit).await)
    }

    /// Sends a command and waits for nothing.
    pub fn tell(&self, command: A::Command) {
        let message = Message::Command(Body::Local(Box::new(command)));
        self.region.send(&self.address, message, None, None);
    }
}

impl Region {
    /// Sends many commands at once and waits for all replies, in the order of the commands. What many
    /// single asks cost in locks and wake-ups is paid once for each lane.
    pub async fn ask_all<'a, A: PersistentActor>(
        &self,
        commands: impl IntoIterator<Item = (&'a EntityRef<A>, A::Command), IntoIter: ExactSizeIterator>,
    ) -> Vec<Asked<A>> {
        let commands = commands.into_iter();
        let (all, waiting) = AskAll::new(commands.len());
        self.send_all(commands.enumerate().map(|(at, (entity, command))| {
            let sink: Arc<_> = waiting.clone();
            let caller = Caller::new(sink, at as u64, Format::Local);
            (&entity.address, Message::Command(Body::Local(Box::new(command) as Box<dyn Any + Send>)), caller)
        }));
        drop(waiting);
        all.await.into_iter().flatten().map(asked::<A>).collect()
    }
}

fn asked<A: PersistentActor>(answer: Answer) -> Asked<A> {
    // A value of another type would be a mix-up inside this process.
    fn local<V: 'static, R>(payload: Payload) -> Result<V, AskError<R>> {
        match payload {
            Payload::Local(value) => value.downcast().map(|value| *value).map_err(|_| AskError::NoReply),
            Payload::Json(_) => Err(AskError::NoReply),
        }
    }
    match answer.result {
        Ok(Reply::Value(payload)) => local(payload),
        Ok(Reply::Rejection { rejection, .. }) => Err(AskError::Rejected(local(rejection)?)),
        Ok(Reply::Nothing) => Err(AskError::NoReply),
        Err(failure) => Err(AskError::Failed(*failure)),
    }
}

/// A failure as an ask sees it.
impl<R> From<Failure> for AskError<R> {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
