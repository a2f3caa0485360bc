//! A UDP network in memory, on the virtual time of the runtime: loses, doubles, delays, reorders,
//! cuts.
//!
//! Enter through [`Net::socket`]: it gives what the link takes instead of the system's socket.
//! Every choice comes from the seed; a datagram of a dead life of a machine goes nowhere.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use quinn::{
    AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use relay_node::link::Wire;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::{
    rng::Rng,
    trace::{Fate, Line, Trace},
};

/// How one direction between two machines behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Nothing passes.
    pub cut: bool,
    /// Percent that are lost.
    pub loss: u64,
    /// Percent that arrive twice.
    pub double: u64,
    /// Least delay in milliseconds.
    pub delay_ms: u64,
    /// Up to so much more, for each datagram anew: reorders.
    pub jitter_ms: u64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { cut: false, loss: 0, double: 0, delay_ms: 5, jitter_ms: 0 }
    }
}

/// The network. Clones share it.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

struct State {
    rng: Rng,
    sent: u64,
    rules: BTreeMap<(usize, usize), Rule>,
    ports: BTreeMap<usize, Port>,
}

/// Where a machine receives.
#[derive(Default)]
struct Port {
    life: u64,
    /// The machine stops; see [`Net::stopping`].
    stopping: bool,
    arriving: BTreeMap<(Instant, u64), Datagram>,
    waker: Option<Waker>,
}

#[derive(Clone)]
struct Datagram {
    from: SocketAddr,
    bytes: Vec<u8>,
}

impl Net {
    /// A network without faults.
    pub fn new(rng: Rng, trace: Trace) -> Self {
        let (rules, ports) = (BTreeMap::new(), BTreeMap::new());
        Self { state: Arc::new(Mutex::new(State { rng, sent: 0, rules, ports })), trace }
    }

    /// The address of a machine.
    pub fn address(machine: usize) -> SocketAddr {
        let last = u8::try_from(machine).unwrap_or(u8::MAX - 1) + 1;
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), 4433)
    }

    /// Sets how one direction behaves.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        self.lock().rules.insert((from, to), rule);
    }

    /// Cuts or joins one direction, and keeps all else of it.
    pub fn cut(&self, from: usize, to: usize, cut: bool) {
        self.lock().rules.entry((from, to)).or_default().cut = cut;
    }

    /// No faults any more.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// A new life of a machine: its socket, and the timers and tasks of the QUIC library, which end
    /// with `dead`.
    pub fn socket(&self, machine: usize, dead: CancellationToken) -> Wire {
        let mut state = self.lock();
        let port = state.ports.entry(machine).or_default();
        port.life += 1;
        port.stopping = false;
        port.arriving.clear();
        port.waker = None;
        let life = port.life;
        drop(state);
        let timer = Mutex::new(Box::pin(tokio::time::sleep_until(Instant::now())));
        let socket = Arc::new(Socket { net: self.clone(), machine, life, timer });
        Wire { socket, runtime: Arc::new(SimRuntime { dead }) }
    }

    /// The present life of a machine stops in order: first packets of connections that it does not
    /// know reach it no more. A server repeats its first packets to a client that is gone, and the
    /// QUIC library takes them for a new dial if two bits are zero that are as random as the keys,
    /// which no seed can give; an endpoint that was closed answers those dials.
    pub fn stopping(&self, machine: usize) {
        if let Some(port) = self.lock().ports.get_mut(&machine) {
            port.stopping = true;
        }
    }

    /// Nothing is received or sent by the present life of a machine any more.
    pub fn unplug(&self, machine: usize) {
        if let Some(port) = self.lock().ports.get_mut(&machine) {
            port.life += 1;
            port.arriving.clear();
            port.waker = None;
        }
    }

    fn send(&self, machine: usize, life: u64, to: SocketAddr, bytes: &[u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        if state.ports.get(&machine).is_none_or(|port| port.life != life) {
            return;
        }
        let Some(receiver) = machine_of(to) else { return };
        let rule = state.rules.get(&(machine, receiver)).copied().unwrap_or_default();
        let first = rule.delay_ms + state.rng.below(rule.jitter_ms + 1);
        let second = rule.delay_ms + state.rng.below(rule.jitter_ms + 1);
        let (lost, doubled) = (state.rng.percent(rule.loss), state.rng.percent(rule.double));
        let fate = match state.ports.get(&receiver) {
            _ if rule.cut => Fate::Cut,
            _ if lost => Fate::Lost,
            None => Fate::Nobody,
            Some(_) if doubled => Fate::Doubled(first, second),
            Some(_) => Fate::Delivered(first),
        };
        self.trace.line(Line::Packet { from: machine, to: receiver, len: bytes.len(), fate });
        let delays = match fate {
            Fate::Delivered(first) => vec![first],
            Fate::Doubled(first, second) => vec![first, second],
            _ => Vec::new(),
        };
        let Some(port) = state.ports.get_mut(&receiver) else { return };
        for delay in delays {
            state.sent += 1;
            let at = Instant::now() + Duration::from_millis(delay);
            let from = Self::address(machine);
            port.arriving.insert((at, state.sent), Datagram { from, bytes: bytes.to_vec() });
        }
        if let Some(waker) = port.waker.take() {
            waker.wake();
        }
    }

    /// Takes what has arrived; else says when the next will.
    fn receive(
        &self,
        machine: usize,
        life: u64,
        waker: &Waker,
    ) -> Result<Datagram, Option<Instant>> {
        let mut state = self.lock();
        let port = state.ports.get_mut(&machine).filter(|port| port.life == life);
        let Some(port) = port else { return Err(None) };
        port.waker = Some(waker.clone());
        let mut next = port.arriving.first_key_value().map(|((at, _), _)| *at);
        while next.is_some_and(|at| at <= Instant::now()) {
            let Some((_, datagram)) = port.arriving.pop_first() else { break };
            if !port.stopping || !is_first_answer(&datagram.bytes) {
                return Ok(datagram);
            }
            next = port.arriving.first_key_value().map(|((at, _), _)| *at);
        }
        Err(next)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One life of a machine on the network.
struct Socket {
    net: Net,
    machine: usize,
    life: u64,
    timer: Mutex<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.machine)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.net.send(self.machine, self.life, transmit.destination, transmit.contents);
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.net.receive(self.machine, self.life, context.waker()) {
                Ok(datagram) => {
                    let (Some(buffer), Some(meta)) = (buffers.first_mut(), meta.first_mut()) else {
                        return Poll::Ready(Ok(0));
                    };
                    let len = datagram.bytes.len().min(buffer.len());
                    buffer.iter_mut().zip(&datagram.bytes).for_each(|(to, from)| *to = *from);
                    let addr = datagram.from;
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(None) => return Poll::Pending,
                Err(Some(at)) => {
                    let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
                    Sleep::reset(timer.as_mut(), at);
                    if Future::poll(timer.as_mut(), context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(Net::address(self.machine))
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// There is always room to send.
#[derive(Debug)]
struct Writable;

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug)]
struct SimRuntime {
    dead: CancellationToken,
}

impl Runtime for SimRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(tokio::time::sleep_until(at.into()))))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let dead = self.dead.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = dead.cancelled() => {}
                () = future => {}
            }
        });
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: std::time::Instant) {
        Sleep::reset(self.0.as_mut(), at.into());
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), context)
    }
}

/// An Initial packet (RFC 9000, 17.2.2) to a connection id that its receiver chose: whoever dials
/// makes up a longer one.
fn is_first_answer(datagram: &[u8]) -> bool {
    let initial = datagram.first().is_some_and(|byte| byte & 0xB0 == 0x80);
    initial && datagram.get(5).is_some_and(|length| *length < CID_OF_DIAL)
}

fn machine_of(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(address) => usize::from(address.octets()[3]).checked_sub(1),
        IpAddr::V6(_) => None,
    }
}

/// Length of the connection id that the QUIC library makes up to dial.
const CID_OF_DIAL: u8 = 20;
