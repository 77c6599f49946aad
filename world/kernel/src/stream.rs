//! The events on their way to a subscriber.
//!
//! A queue that stays small whatever happens: what repeats itself is there once until it is read, and when a
//! reader has fallen far behind, what it has not read is replaced by the order to look afresh.

use crate::{KernelEvent, MissTarget};
use model::{LinkName, NamespaceId};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{RecvError, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

/// The most that a reader may be behind, in events.
const MOST: usize = 1 << 16;

/// The most misses that wait unread. One more is dropped: the kernel tells again with the next packet.
const MOST_MISSES: usize = 4096;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<KernelEvent>,
    /// The misses among them.
    misses: BTreeSet<(NamespaceId, LinkName, MissTarget)>,
    /// Whether the publisher is gone.
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a subscriber's events when it is dropped: whoever waits for the next one waits no more.
#[derive(Debug)]
pub struct Ender(Arc<Shared>);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_all();
    }
}

/// One subscriber's events, in the order in which the kernel told them. Ends when the kernel handle does.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

impl Events {
    /// What ends them for the subscriber's own part.
    pub fn ender(&self) -> Ender {
        Ender(Arc::clone(&self.0))
    }

    /// Waits for the next.
    ///
    /// # Errors
    /// There will be none any more.
    pub fn recv(&self) -> Result<KernelEvent, RecvError> {
        let mut queue = self.0.lock();
        loop {
            match queue.pop() {
                Some(event) => return Ok(event),
                None if queue.closed => return Err(RecvError),
                None => queue = self.0.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits for the next, but no longer than `timeout`.
    ///
    /// # Errors
    /// None came in time, or there will be none any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<KernelEvent, RecvTimeoutError> {
        let deadline = Instant::now() + timeout;
        let mut queue = self.0.lock();
        loop {
            if let Some(event) = queue.pop() {
                return Ok(event);
            }
            if queue.closed {
                return Err(RecvTimeoutError::Disconnected);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            queue = self.0.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next, if it is there already.
    ///
    /// # Errors
    /// None is there, or there will be none any more.
    pub fn try_recv(&self) -> Result<KernelEvent, TryRecvError> {
        let mut queue = self.0.lock();
        match queue.pop() {
            Some(event) => Ok(event),
            None if queue.closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Those that are there already.
    pub fn try_iter(&self) -> impl Iterator<Item = KernelEvent> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// All to come; each step waits.
    pub fn iter(&self) -> impl Iterator<Item = KernelEvent> {
        std::iter::from_fn(|| self.recv().ok())
    }
}

impl Queue {
    fn pop(&mut self) -> Option<KernelEvent> {
        let event = self.events.pop_front()?;
        if let KernelEvent::Miss { namespace, link, target } = &event {
            self.misses.remove(&(namespace.clone(), link.clone(), *target));
        }
        Some(event)
    }

    fn push(&mut self, event: KernelEvent) {
        match &event {
            KernelEvent::Miss { namespace, link, target } => {
                let miss = (namespace.clone(), link.clone(), *target);
                if self.misses.len() >= MOST_MISSES || !self.misses.insert(miss) {
                    return;
                }
            }
            KernelEvent::Overrun | KernelEvent::OverlayOverrun(_) if self.events.contains(&event) => return,
            _ => {}
        }
        self.events.push_back(event);
        if self.events.len() > MOST {
            self.thin_out();
        }
    }

    /// Replaces what the reader will see for itself when it looks afresh. A namespace's end stays: no look at
    /// what is there shows it.
    fn thin_out(&mut self) {
        let mut overlays = BTreeSet::new();
        let mut host = false;
        self.events.retain(|event| match (event, event.overlay()) {
            (KernelEvent::Miss { .. } | KernelEvent::NamespaceGone(_), _) => true,
            (_, Some(overlay)) => {
                overlays.insert(overlay.clone());
                false
            }
            _ => {
                host = true;
                false
            }
        });
        self.events.extend(host.then_some(KernelEvent::Overrun));
        self.events.extend(overlays.into_iter().map(KernelEvent::OverlayOverrun));
    }
}

/// Where the events come from.
#[derive(Debug, Default)]
pub(crate) struct Publisher(Mutex<Vec<Weak<Shared>>>);

impl Publisher {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more subscriber, from now on.
    pub(crate) fn subscribe(&self) -> Events {
        let shared = Arc::<Shared>::default();
        self.lock().push(Arc::downgrade(&shared));
        Events(shared)
    }

    /// Tells every subscriber of several, waking each up once.
    pub(crate) fn tell_all(&self, events: &[KernelEvent]) {
        if events.is_empty() {
            return;
        }
        self.lock().retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            let mut queue = subscriber.lock();
            events.iter().for_each(|event| queue.push(event.clone()));
            drop(queue);
            subscriber.wake.notify_one();
            true
        });
    }

    /// Tells every subscriber.
    pub(crate) fn tell(&self, event: &KernelEvent) {
        self.tell_all(std::slice::from_ref(event));
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        for subscriber in self.lock().iter().filter_map(Weak::upgrade) {
            subscriber.lock().closed = true;
            subscriber.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(inode: u64) -> NamespaceId {
        NamespaceId { device: 4, inode, boot: "boot".into() }
    }

    fn miss(last: u8) -> KernelEvent {
        let target = MissTarget::Address([10, 0, 0, last].into());
        KernelEvent::Miss { namespace: namespace(1), link: "vxlan0".parse().unwrap(), target }
    }

    fn gone(number: u32) -> KernelEvent {
        KernelEvent::OverlayLinkGone { namespace: namespace(u64::from(number % 2)), name: format!("veth{number}") }
    }

    #[test]
    fn a_storm_of_one_miss_is_one_event_until_it_is_read() {
        let (publisher, other) = (Publisher::default(), KernelEvent::NamespaceGone(namespace(7)));
        let events = publisher.subscribe();
        (0..100_000).for_each(|_| publisher.tell(&miss(1)));
        publisher.tell(&other);
        publisher.tell(&miss(1));
        publisher.tell(&miss(2));
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [miss(1), other, miss(2)]);
        publisher.tell(&miss(1));
        assert_eq!(events.recv(), Ok(miss(1)));
        assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn misses_for_every_address_stay_bounded() {
        let publisher = Publisher::default();
        let events = publisher.subscribe();
        for number in 0..3 * MOST_MISSES as u32 {
            let target = MissTarget::Address(std::net::Ipv4Addr::from(number).into());
            publisher.tell(&KernelEvent::Miss { namespace: namespace(1), link: "vxlan0".parse().unwrap(), target });
        }
        assert_eq!(events.try_iter().count(), MOST_MISSES);
    }

    #[test]
    fn who_falls_far_behind_looks_afresh() {
        let publisher = Publisher::default();
        let events = publisher.subscribe();
        let ended = KernelEvent::NamespaceGone(namespace(7));
        publisher.tell(&ended);
        (0..3 * MOST as u32).for_each(|number| publisher.tell(&gone(number)));
        let heard: Vec<_> = events.try_iter().collect();
        assert!(heard.len() <= MOST, "{}", heard.len());
        assert_eq!(heard[0], ended);
        for number in [0, 1] {
            let overrun = KernelEvent::OverlayOverrun(namespace(number));
            assert_eq!(heard.iter().filter(|event| **event == overrun).count(), 1);
        }
    }

    #[test]
    fn the_end_is_told() {
        let publisher = Publisher::default();
        let (events, dropped) = (publisher.subscribe(), publisher.subscribe());
        drop(dropped);
        publisher.tell(&miss(1));
        drop(publisher);
        assert_eq!(events.recv(), Ok(miss(1)));
        assert_eq!(events.recv(), Err(RecvError));
        assert_eq!(events.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_subscriber_ends_its_own() {
        let publisher = Publisher::default();
        let (ended, other) = (publisher.subscribe(), publisher.subscribe());
        let ender = ended.ender();
        publisher.tell(&miss(1));
        assert_eq!(ended.recv(), Ok(miss(1)));
        let waiting = std::thread::spawn(move || ended.recv_timeout(Duration::MAX / 4));
        drop(ender);
        assert_eq!(waiting.join().unwrap(), Err(RecvTimeoutError::Disconnected));
        publisher.tell(&miss(2));
        assert_eq!(other.try_iter().collect::<Vec<_>>(), [miss(1), miss(2)]);
    }
}
