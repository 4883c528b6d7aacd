//! Where the processor's time goes in a large run, by component. The one place that looks at the real clock: nothing that a run
//! does depends on it.

use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::world::lock;

/// What the time is spent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Controllers: services, lost nodes, retention.
    Controllers,
    /// The node protocol's server: the watch that tells sessions where to look, and the sessions.
    Dispatch,
    /// Operations of the API, those that nodes call included.
    Operations,
    /// Simulated nodes.
    Nodes,
    /// The run's own books.
    Audit,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Controllers, Self::Dispatch, Self::Operations, Self::Nodes, Self::Audit];
}

/// Measures, if it is on.
#[derive(Debug, Default)]
pub struct Meter {
    is_on: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: [Duration; Component::ALL.len()],
    /// What is under way, the innermost last, and since when its time counts.
    stack: Vec<(Component, Option<Instant>)>,
}

impl Meter {
    /// One that measures.
    pub fn on() -> Self {
        Self { is_on: true, state: Mutex::default() }
    }

    /// How long was spent in a component, without what it called of others.
    pub fn spent(&self, component: Component) -> Duration {
        lock(&self.state).spent[component as usize]
    }

    /// Does something as part of a component.
    pub fn measure<T>(&self, component: Component, work: impl FnOnce() -> T) -> T {
        if !self.is_on {
            return work();
        }
        self.enter(component);
        let done = work();
        self.leave();
        done
    }

    /// Awaits something as part of a component.
    pub async fn measured<F: Future>(&self, component: Component, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| self.poll(component, future.as_mut(), context)).await
    }

    fn poll<F: Future>(&self, component: Component, future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.measure(component, || future.poll(context))
    }

    fn enter(&self, component: Component) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.pause(now);
        state.stack.push((component, Some(now)));
    }

    fn leave(&self) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.pause(now);
        state.stack.pop();
        if let Some((_, since)) = state.stack.last_mut() {
            *since = Some(now);
        }
    }
}

impl State {
    /// The innermost one's time does not count for now.
    fn pause(&mut self, now: Instant) {
        if let Some((component, since)) = self.stack.last_mut()
            && let Some(begun) = since.take()
        {
            self.spent[*component as usize] += now - begun;
        }
    }
}
