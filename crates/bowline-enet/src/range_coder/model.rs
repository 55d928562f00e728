//! How often which byte followed which: contexts of none, one and two bytes.

/// How many nodes there are.
const NODES: usize = 4096;
/// From this many on, there might not be enough for another byte.
const NODES_FULL: u16 = 4094;
/// From this total on, a context is rescaled.
const TOTAL_MAX: u16 = 65_280;
/// How many bytes of context there are at most.
const ORDER_MAX: u8 = 2;
/// How much more likely a symbol gets in its context that was new there.
const ESCAPE_STEP: u16 = 5;
/// How deep a tree is at most, as long as all bytes in it differ.
const DEPTH_MAX: usize = 256;

/// Which node. 0 is the root, and as a link "none".
pub(super) type Index = u16;

/// The context of no bytes.
pub(super) const ROOT: Index = 0;

/// A byte in a context, and the context of that byte.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The byte.
    value: u8,
    /// How often it came, in steps.
    count: u8,
    /// Its own count, and those of all in the tree to its left.
    under: u16,
    left: Index,
    right: Index,
    /// As a context: the top of the tree of what followed.
    symbols: Index,
    /// As a context: how often something new followed, in steps.
    escapes: u16,
    /// As a context: all counts together.
    total: u16,
    /// The same byte in the context one byte shorter.
    parent: Index,
}

impl Node {
    const EMPTY: Self = Self {
        value: 0,
        count: 0,
        under: 0,
        left: 0,
        right: 0,
        symbols: 0,
        escapes: 0,
        total: 0,
        parent: 0,
    };
}

/// By how much counts grow, and where they start.
#[derive(Clone, Copy, Debug)]
struct Rule {
    step: u8,
    /// What every byte has without ever having come.
    minimum: u8,
}

impl Rule {
    #[inline]
    const fn of(context: Index) -> Self {
        match context {
            ROOT => Self { step: 3, minimum: 1 },
            _ => Self { step: 2, minimum: 0 },
        }
    }

    /// From this count on, a context is rescaled.
    #[inline]
    const fn count_max(self) -> u16 {
        255 - 2 * self.step as u16 + self.minimum as u16
    }
}

/// A byte found in a context: its node, and its part of the total as it was before it came now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) node: Index,
    pub(super) under: u16,
    pub(super) count: u16,
}

/// Where a node is to be remembered that the next shorter context will yield.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    Predicted,
    ParentOf(Index),
}

/// All contexts.
///
/// Only damaged input can put a byte into a tree twice. The original goes on with that; so does this, but for walks
/// deeper than a tree of different bytes can be, so that work has a bound.
#[derive(Debug)]
pub(super) struct Model {
    nodes: [Node; NODES],
    /// How many of them are in use, from the first on.
    used: u16,
    /// The longest context of the next byte.
    predicted: Index,
    /// How many bytes that one has.
    order: u8,
}

impl Model {
    /// All zero, and not fit for use before [`Self::clear`].
    pub(super) const fn new() -> Self {
        Self { nodes: [Node::EMPTY; NODES], used: 0, predicted: ROOT, order: 0 }
    }

    /// Forgets everything.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.create(0, 0);
        let root = self.node_mut(ROOT);
        root.escapes = 1;
        root.total = 1 + 256;
        self.predicted = ROOT;
        self.order = 0;
    }

    #[inline]
    pub(super) const fn predicted(&self) -> Index {
        self.predicted
    }

    #[inline]
    pub(super) fn parent(&self, context: Index) -> Index {
        self.node(context).parent
    }

    #[inline]
    pub(super) fn escapes(&self, context: Index) -> u16 {
        self.node(context).escapes
    }

    #[inline]
    pub(super) fn total(&self, context: Index) -> u16 {
        self.node(context).total
    }

    /// Remembers that the byte's node in the context one shorter is `node`, and returns where the next
    /// one belongs.
    #[inline]
    pub(super) fn thread(&mut self, link: Link, node: Index) -> Link {
        match link {
            Link::Predicted => self.predicted = node,
            Link::ParentOf(longer) => self.node_mut(longer).parent = node,
        }
        Link::ParentOf(node)
    }

    /// A byte was coded and its nodes threaded: goes on to the context of the next.
    #[inline]
    pub(super) fn advance(&mut self) {
        if self.order >= ORDER_MAX {
            self.predicted = self.parent(self.predicted);
        } else {
            self.order += 1;
        }
        if self.used >= NODES_FULL {
            self.clear();
        }
    }

    /// Something new followed in `context`.
    #[inline]
    pub(super) fn escape(&mut self, context: Index) {
        let context = self.node_mut(context);
        context.escapes = context.escapes.wrapping_add(ESCAPE_STEP);
        context.total = context.total.wrapping_add(ESCAPE_STEP);
    }

    /// Accounts in `context` for a byte whose count was `count`.
    #[inline]
    pub(super) fn count(&mut self, context: Index, count: u16) {
        let rule = Rule::of(context);
        let node = self.node_mut(context);
        node.total = node.total.wrapping_add(rule.step.into());
        if count > rule.count_max() || node.total > TOTAL_MAX {
            self.rescale(context);
        }
    }

    /// Finds `value` in `context`, or puts it there, and counts it. `None` where the tree is too deep.
    #[inline]
    pub(super) fn visit(&mut self, context: Index, value: u8) -> Option<Found> {
        let Rule { step, minimum } = Rule::of(context);
        let mut under = u16::from(value) * u16::from(minimum);
        let mut at = self.node(context).symbols;
        if at == 0 {
            let node = self.create(value, step);
            self.node_mut(context).symbols = node;
            return Some(Found { node, under, count: minimum.into() });
        }
        for _ in 0..DEPTH_MAX {
            let node = self.node_mut(at);
            let next = if value < node.value {
                node.under = node.under.wrapping_add(step.into());
                node.left
            } else if value > node.value {
                under = under.wrapping_add(node.under);
                node.right
            } else {
                let count = u16::from(node.count);
                under = under.wrapping_add(node.under).wrapping_sub(count);
                node.under = node.under.wrapping_add(step.into());
                node.count = node.count.wrapping_add(step);
                let count = count + u16::from(minimum);
                return Some(Found { node: at, under, count });
            };
            if next == 0 {
                let is_left = value < node.value;
                let node = self.create(value, step);
                self.attach(at, is_left, node);
                return Some(Found { node, under, count: minimum.into() });
            }
            at = next;
        }
        None
    }

    /// Finds the byte that has part `code` in `context`, and counts it. In the root every byte has one;
    /// elsewhere `None` means damaged input.
    #[inline]
    pub(super) fn locate(&mut self, context: Index, code: u16) -> Option<Found> {
        let Rule { step, minimum } = Rule::of(context);
        let minimum = u16::from(minimum);
        let mut under = 0u16;
        let mut at = self.node(context).symbols;
        if at == 0 {
            let node = self.create_in_root(context, code as u8)?;
            self.node_mut(context).symbols = node;
            return Some(Found { node, under: code, count: minimum });
        }
        for _ in 0..DEPTH_MAX {
            let node = self.node_mut(at);
            let virtually = (u16::from(node.value) + 1).wrapping_mul(minimum);
            let after = under.wrapping_add(node.under).wrapping_add(virtually);
            let count = u16::from(node.count) + minimum;
            // Not modulo 2^16: on damaged input it may be below 0.
            let start = i32::from(after) - i32::from(count);
            let value = node.value;
            if code >= after {
                under = under.wrapping_add(node.under);
                if node.right == 0 {
                    let beyond = code.wrapping_sub(after) as u8;
                    let value = value.wrapping_add(1).wrapping_add(beyond);
                    let node = self.create_in_root(context, value)?;
                    self.attach(at, false, node);
                    return Some(Found { node, under: code, count: minimum });
                }
                at = node.right;
            } else if i32::from(code) < start {
                node.under = node.under.wrapping_add(step.into());
                if node.left == 0 {
                    let before = (start - i32::from(code)) as u8;
                    let node = self.create_in_root(context, value.wrapping_sub(before))?;
                    self.attach(at, true, node);
                    return Some(Found { node, under: code, count: minimum });
                }
                at = node.left;
            } else {
                node.under = node.under.wrapping_add(step.into());
                node.count = node.count.wrapping_add(step);
                return Some(Found { node: at, under: start as u16, count });
            }
        }
        None
    }

    /// The byte of a node.
    #[inline]
    pub(super) fn value(&self, node: Index) -> u8 {
        self.node(node).value
    }

    /// Halves all counts of a context, in one walk in order of the bytes, without a stack: the last node before
    /// one that has a left side points to it meanwhile (Morris, "Traversing binary trees simply and cheaply", 1979).
    #[cold]
    fn rescale(&mut self, context: Index) {
        let mut sum = 0u16;
        let mut at = self.node(context).symbols;
        while at != 0 {
            let Node { left, right, under, .. } = *self.node(at);
            let before = if left == 0 { sum } else { under };
            if left != 0 && self.turn_back(left, at) {
                // First time here. Until it is needed, `under` holds what came before the left side.
                self.node_mut(at).under = sum;
                at = left;
                continue;
            }
            let node = self.node_mut(at);
            node.count -= node.count / 2;
            sum = sum.wrapping_add(node.count.into());
            node.under = sum.wrapping_sub(before);
            at = right;
        }
        let minimum = u16::from(Rule::of(context).minimum);
        let node = self.node_mut(context);
        node.escapes -= node.escapes / 2;
        node.total = sum.wrapping_add(node.escapes).wrapping_add(256 * minimum);
    }

    /// Makes the last node of the tree `left` point to `at`, or undoes that; tells which.
    fn turn_back(&mut self, left: Index, at: Index) -> bool {
        let mut last = left;
        loop {
            let node = self.node_mut(last);
            if node.right == 0 {
                node.right = at;
                return true;
            }
            if node.right == at {
                node.right = 0;
                return false;
            }
            last = node.right;
        }
    }

    fn attach(&mut self, at: Index, is_left: bool, child: Index) {
        let node = self.node_mut(at);
        *(if is_left { &mut node.left } else { &mut node.right }) = child;
    }

    #[inline]
    fn create_in_root(&mut self, context: Index, value: u8) -> Option<Index> {
        (context == ROOT).then(|| self.create(value, Rule::of(ROOT).step))
    }

    /// A new node. There is always room for the three that a byte may take.
    #[inline]
    fn create(&mut self, value: u8, count: u8) -> Index {
        debug_assert!(usize::from(self.used) < NODES, "a byte has three nodes at most");
        let index = self.used;
        *self.node_mut(index) = Node { value, count, under: count.into(), ..Node::EMPTY };
        self.used = index.wrapping_add(1);
        index
    }

    #[inline]
    fn node(&self, index: Index) -> &Node {
        let [root, ..] = &self.nodes;
        self.nodes.get(usize::from(index) % NODES).unwrap_or(root)
    }

    #[inline]
    fn node_mut(&mut self, index: Index) -> &mut Node {
        let [root, others @ ..] = &mut self.nodes;
        others.get_mut((usize::from(index) % NODES).wrapping_sub(1)).unwrap_or(root)
    }
}
