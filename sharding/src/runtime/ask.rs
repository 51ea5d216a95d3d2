//! Waiting for answers: one, or a batch of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use abide_persistence::model::{Answer, Failure, ReplySink};

/// Why an ask has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<R> {
    /// The entity said no.
    #[error("the entity rejected the command")]
    Rejected(R),
    /// The command was handled and ended without a reply.
    #[error("the command ended without a reply")]
    NoReply,
    /// The command was not answered by the entity; the failure says whether it may have taken effect.
    #[error(transparent)]
    Failed(Failure),
}

/// The answer to one request, some time later.
#[derive(Debug)]
#[must_use = "an ask that is dropped is not waited for"]
pub struct Ask(Arc<Waiting>);

#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    begun: bool,
    given_up: bool,
    answer: Option<Answer>,
    waker: Option<Waker>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplySink for Waiting {
    fn deliver(&self, _: u64, answer: Answer) {
        let mut state = self.lock();
        if state.answer.is_some() || state.given_up {
            return;
        }
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn begin(&self, _: u64) -> bool {
        let mut state = self.lock();
        state.begun = !state.given_up;
        state.begun
    }
}

impl Ask {
    pub(crate) fn new() -> (Self, Arc<Waiting>) {
        let waiting = Arc::new(Waiting::default());
        (Self(Arc::clone(&waiting)), waiting)
    }

    /// Stops waiting. The failure tells whether the entity's code has begun to run: if not, it never
    /// will, and nothing has happened.
    pub fn give_up(self) -> Failure {
        let mut state = self.0.lock();
        state.given_up = true;
        if state.begun { Failure::TimedOut } else { Failure::Expired }
    }
}

impl Future for Ask {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.0.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                remember(&mut state.waker, cx);
                Poll::Pending
            }
        }
    }
}

fn remember(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

/// The answers to a batch of requests, numbered from 0.
#[derive(Debug)]
pub(crate) struct AskAll(Arc<WaitingAll>);

#[derive(Debug)]
pub(crate) struct WaitingAll(Mutex<Answers>);

#[derive(Debug)]
struct Answers {
    answers: Vec<Option<Answer>>,
    missing: usize,
    waker: Option<Waker>,
}

impl AskAll {
    pub(crate) fn new(count: usize) -> (Self, Arc<WaitingAll>) {
        let mut answers = Vec::new();
        answers.resize_with(count, || None);
        let waiting = Arc::new(WaitingAll(Mutex::new(Answers { answers, missing: count, waker: None })));
        (Self(Arc::clone(&waiting)), waiting)
    }
}

impl ReplySink for WaitingAll {
    fn deliver(&self, tag: u64, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place @ None) = all.answers.get_mut(tag as usize) else { return };
        *place = Some(answer);
        all.missing -= 1;
        let waker = if all.missing == 0 { all.waker.take() } else { None };
        drop(all);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for AskAll {
    /// In their order; all are there.
    type Output = Vec<Option<Answer>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.missing == 0 {
            return Poll::Ready(std::mem::take(&mut all.answers));
        }
        remember(&mut all.waker, cx);
        Poll::Pending
    }
}
