//! What an [`EventSourced`] entity decides: which events, and what to answer.

use super::event_sourced::EventSourced;

/// A decision. It must be returned to take effect.
#[must_use = "a decision takes effect by being returned from `handle`"]
pub struct Effect<T: EventSourced> {
    pub(crate) events: Vec<T::Event>,
    pub(crate) answer: EffectAnswer<T>,
}

/// Computes the reply from the state after the events; a function item costs no allocation.
type ReplyFrom<T> = Box<dyn FnOnce(&T) -> <T as EventSourced>::Reply + Send>;

pub(crate) enum EffectAnswer<T: EventSourced> {
    Reply(T::Reply),
    ReplyFrom(ReplyFrom<T>),
    Reject(T::Rejection),
    Nothing,
}

impl<T: EventSourced> Effect<T> {
    /// Persists one event.
    pub fn persist(event: T::Event) -> Persisting<T> {
        Persisting { events: vec![event] }
    }

    /// Persists several events: all or none of them.
    pub fn persist_all(events: impl IntoIterator<Item = T::Event>) -> Persisting<T> {
        Persisting { events: events.into_iter().collect() }
    }

    /// Answers, and changes nothing.
    pub fn reply(reply: T::Reply) -> Self {
        Self { events: Vec::new(), answer: EffectAnswer::Reply(reply) }
    }

    /// Says no, and changes nothing.
    pub fn reject(rejection: T::Rejection) -> Self {
        Self { events: Vec::new(), answer: EffectAnswer::Reject(rejection) }
    }

    /// Changes nothing and has nothing to say; the caller learns that the command was handled.
    pub fn nothing() -> Self {
        Self { events: Vec::new(), answer: EffectAnswer::Nothing }
    }
}

/// Events on their way into a decision: say what to answer once they are stored.
#[must_use = "say what to answer: then_reply or then_nothing"]
pub struct Persisting<T: EventSourced> {
    events: Vec<T::Event>,
}

impl<T: EventSourced> Persisting<T> {
    /// Answers from the state after the events, once they are stored.
    pub fn then_reply(self, reply: impl FnOnce(&T) -> T::Reply + Send + 'static) -> Effect<T> {
        Effect { events: self.events, answer: EffectAnswer::ReplyFrom(Box::new(reply)) }
    }

    /// Says no, but only once the events are stored: for a refusal that must be remembered.
    pub fn then_reject(self, rejection: T::Rejection) -> Effect<T> {
        Effect { events: self.events, answer: EffectAnswer::Reject(rejection) }
    }

    /// Has nothing to say; the caller learns that the events are stored.
    pub fn then_nothing(self) -> Effect<T> {
        Effect { events: self.events, answer: EffectAnswer::Nothing }
    }
}
