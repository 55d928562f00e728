//! What a world is made of. Plain values, drawn from a seed.

use bowline_core::{Duration, Mode};
use bowline_native::{Accept, Config, Integrity};
use bowline_sim::{Bursts, Link, PERCENT, Rng};

use crate::memory::Kind;
use crate::stage::MODES;

/// One endpoint and its application.
#[derive(Clone, Copy, Debug)]
pub struct NodePlan {
    /// Its memory.
    pub kind: Kind,
    /// How it is configured.
    pub config: Config,
    /// If set, it is called only this often, as by a game's frames.
    pub tick: Option<Duration>,
}

impl NodePlan {
    /// An endpoint with the configuration that suits its memory.
    pub const fn new(kind: Kind) -> Self {
        Self { kind, config: kind.config(), tick: None }
    }
}

/// An endpoint with the configuration that suits its memory, but for what `change` does to it.
pub fn with(kind: Kind, change: impl FnOnce(&mut Config)) -> NodePlan {
    let mut plan = NodePlan::new(kind);
    change(&mut plan.config);
    plan
}

/// Something that happens to the network for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disaster {
    /// Nothing arrives anywhere.
    Outage,
    /// Only datagrams of at most this many bytes pass.
    Clamp(usize),
    /// Half of everything is lost.
    HeavyLoss,
    /// This node's caller is away; its datagrams wait.
    Stall(usize),
}

/// A disaster and its time, counted from the start of the traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// When it begins.
    pub from: Duration,
    /// How long it lasts.
    pub span: Duration,
    /// What it is.
    pub what: Disaster,
}

/// What an application asks for its messages; chances in parts per million.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wishes {
    /// To be told the outcome of a message.
    pub tag: u32,
    /// That a message has a time to live.
    pub life: u32,
    /// The longest of these times.
    pub life_max: Duration,
    /// Per turn and session, that a message is withdrawn.
    pub cancel: u32,
    /// How many keys there are.
    pub keys: u64,
}

impl Wishes {
    /// Nothing but that messages arrive.
    pub const NONE: Self = Self { tag: 0, life: 0, life_max: Duration::ZERO, cancel: 0, keys: 1 };
}

/// Everything that a world follows from.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What all luck follows from.
    pub seed: u64,
    /// The endpoints; all of them connect to the first, some to others.
    pub nodes: Vec<NodePlan>,
    /// What lies between any two of them.
    pub link: Link,
    /// How long the applications send.
    pub span: Duration,
    /// Longest time between two turns of an application.
    pub pace: Duration,
    /// Most messages that an application sends per turn and session.
    pub burst: u64,
    /// Longest reliable, unreliable-ordered and unreliable message.
    pub longest: [usize; 3],
    /// The modes that are used, where both sides have them.
    pub modes: Vec<Mode>,
    /// What applications ask for their messages.
    pub wishes: Wishes,
    /// Chance, per turn and in parts per million, that an application stops reading for up to two seconds.
    pub pause: u32,
    /// Chance, per turn and in parts per million, that a session is closed, finished, or another begun.
    pub churn: u32,
    /// Chance, in parts per million, that somebody who saw a datagram sends it again, up to three seconds later.
    pub replay: u32,
    /// What happens to the network.
    pub troubles: Vec<Trouble>,
}

impl Scenario {
    /// Two endpoints of these kinds of memory over a link, attentive applications, no trouble.
    pub fn pair(seed: u64, kinds: [Kind; 2], link: Link) -> Self {
        Self {
            seed,
            nodes: kinds.map(NodePlan::new).into(),
            link,
            span: Duration::from_secs(3),
            pace: Duration::from_millis(20),
            burst: 4,
            longest: [64 * 1024, 16 * 1024, 4 * 1024],
            modes: Mode::GODOT.into(),
            wishes: Wishes::NONE,
            pause: 0,
            churn: 0,
            replay: 0,
            troubles: Vec::new(),
        }
    }

    /// Anything that may happen.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::stream(seed, 0x5ce);
        let count = 2 + rng.below(3) as usize;
        let link = draw_link(&mut rng);
        // Only where nothing is damaged on the way can one do without checksums.
        let integrity = if link.corrupt == 0 && rng.chance(20 * PERCENT) {
            Integrity::None
        } else {
            Integrity::Crc32
        };
        let mut nodes: Vec<NodePlan> = (0..count).map(|_| draw_node(&mut rng, &link)).collect();
        // Enough room for everybody at the one that all connect to.
        while nodes[0].kind.peers() < count {
            nodes[0].kind = Kind::TightHeap;
            nodes[0].config = draw_node_of(&mut rng, &link, Kind::TightHeap).config;
        }
        nodes.iter_mut().for_each(|node| node.config.integrity = integrity);
        let mut wishing = Rng::stream(seed, 0x3157);
        let (modes, wishes) = draw_wishes(&mut wishing);
        for node in &mut nodes {
            if wishing.chance(30 * PERCENT) {
                node.config.tickets_max = 1 + wishing.below(30) as u32;
            }
        }
        // Without checksums nothing tells late packets of one session from those of the next.
        let is_checked = integrity == Integrity::Crc32;
        let span = Duration::from_millis(500 + rng.below(4_000));
        let troubles = (0..rng.below(3)).map(|_| draw_trouble(&mut rng, span, count)).collect();
        Self {
            seed,
            nodes,
            link,
            span,
            pace: Duration::from_millis(1 + rng.below(60)),
            burst: 1 + rng.below(12),
            longest: [64 * 1024, 16 * 1024, 4 * 1024]
                .map(|most| 1 << rng.below(most).max(4).ilog2()),
            modes,
            wishes,
            pause: if rng.chance(50 * PERCENT) { 2 * PERCENT } else { 0 },
            churn: if is_checked && rng.chance(30 * PERCENT) { PERCENT } else { 0 },
            replay: if is_checked && rng.chance(20 * PERCENT) { 5 * PERCENT } else { 0 },
            troubles,
        }
    }

    /// Whether a session may rightly end by time-out.
    pub fn may_time_out(&self) -> bool {
        let shortest = self.nodes.iter().map(|node| node.config.idle_timeout).min();
        let longest: u64 = self.troubles.iter().map(|trouble| trouble.span.as_micros()).sum();
        let shortest = shortest.unwrap_or_default().as_micros();
        self.churn > 0 || longest * 3 > shortest || self.link.bursts.is_some()
    }

    /// Whether an attempt to connect may rightly end by time-out.
    pub fn may_not_connect(&self) -> bool {
        self.may_time_out() || self.link.loss > 0 || !self.troubles.is_empty() || self.pause > 0
    }
}

fn draw_wishes(rng: &mut Rng) -> (Vec<Mode>, Wishes) {
    let mut modes: Vec<Mode> = MODES.into_iter().filter(|_| rng.chance(80 * PERCENT)).collect();
    if modes.is_empty() {
        modes = MODES.into();
    }
    let mut chance = |of: &[u32]| of[rng.below(of.len() as u64) as usize] * PERCENT;
    let (tag, life, cancel) =
        (chance(&[0, 20, 60, 100]), chance(&[0, 0, 20, 70]), chance(&[0, 0, 5, 40]));
    let life_max = Duration::from_micros(1 << (8 + rng.below(15)));
    let keys = 1 << rng.below(8);
    (modes, Wishes { tag, life, life_max, cancel, keys })
}

fn draw_node(rng: &mut Rng, link: &Link) -> NodePlan {
    let kind = Kind::ALL[rng.below(4) as usize];
    draw_node_of(rng, link, kind)
}

fn draw_node_of(rng: &mut Rng, link: &Link, kind: Kind) -> NodePlan {
    let config = kind.config();
    let datagram_max = if rng.chance(30 * PERCENT) {
        (200 + rng.below(1_300)) as u16
    } else {
        config.datagram_max
    };
    let datagram_max = if kind == Kind::SmallFixed { config.datagram_max } else { datagram_max };
    let config = Config {
        accept: if rng.chance(20 * PERCENT) { Accept::Ask } else { Accept::Always },
        connection_ids: rng.chance(50 * PERCENT),
        datagram_max: datagram_max.min(link.payload_max.min(65_507) as u16),
        ack_delay: Duration::from_millis(rng.below(32)),
        idle_timeout: Duration::from_secs(4 + rng.below(16)),
        credit: 200 + rng.below(u64::from(config.credit) - 199) as u32,
        in_flight_max: 2_000 + rng.below(u64::from(config.in_flight_max) - 1_999) as u32,
        channels: 1 + rng.below(config.channels.into()) as u16,
        initial: rng.chance(50 * PERCENT).then(|| u32::MAX - rng.below(3_000) as u32),
        ..config
    };
    let tick = rng.chance(30 * PERCENT).then(|| Duration::from_millis(1 + rng.below(40)));
    NodePlan { kind, config, tick }
}

fn draw_link(rng: &mut Rng) -> Link {
    let millis = Duration::from_millis;
    match rng.below(8) {
        0 => Link::PERFECT.with_delay(millis(rng.below(100))),
        1 => Link::LAN,
        2 => Link::BROADBAND,
        3 => Link::WIFI,
        4 => Link::MOBILE,
        5 => Link::HOSTILE,
        6 => Link::PERFECT
            .with_delay(millis(5))
            .with_rate(20_000 + rng.below(200_000), 3_000 + rng.below(60_000))
            .with_payload_max(600 + rng.below(600) as usize),
        _ => Link::PERFECT
            .with_delay(millis(rng.below(80)))
            .with_jitter(millis(rng.below(60)))
            .with_loss(rng.below(20) as u32 * PERCENT)
            .with_duplicate(rng.below(20) as u32 * PERCENT, millis(rng.below(200)))
            .with_reorder(rng.below(20) as u32 * PERCENT, millis(rng.below(150)))
            .with_corrupt(rng.below(5) as u32 * PERCENT)
            .with_bursts(Bursts {
                worsens: rng.below(5_000) as u32,
                recovers: 50_000,
                good_loss: 0,
                bad_loss: 600_000,
            }),
    }
}

fn draw_trouble(rng: &mut Rng, span: Duration, nodes: usize) -> Trouble {
    let what = match rng.below(4) {
        0 => Disaster::Outage,
        1 => Disaster::Clamp(100 + rng.below(400) as usize),
        2 => Disaster::HeavyLoss,
        _ => Disaster::Stall(rng.below(nodes as u64) as usize),
    };
    let longest = Duration::from_millis(if rng.chance(10 * PERCENT) { 20_000 } else { 1_500 });
    Trouble { from: rng.duration(span), span: rng.duration(longest), what }
}
