//! The shape of the document: which keys there are, what each takes, what it is when left out. The reader, the refusal of
//! unknown keys and the JSON Schema all work from this one table, so that they cannot drift apart.

use super::Scope;

/// A mapping of the document.
#[derive(Debug)]
pub(super) struct Shape {
    /// What the mapping is, for messages: "an entry of `hosts`".
    pub(super) what: &'static str,
    pub(super) fields: &'static [Field],
    pub(super) rule: Rule,
}

/// What is asked of the keys of a mapping together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Each is judged alone.
    None,
    AtLeastOne,
    ExactlyOne,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) about: &'static str,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// The number of the document's version.
    Version,
    /// One line of text.
    Text,
    /// One glob or a list of them.
    Patterns,
    /// A CEL condition.
    Condition(Scope),
    /// `90s`, `1h30m`.
    Duration {
        min_s: u64,
        default_s: u64,
    },
    /// A whole number; without a default it may be left out altogether.
    Whole {
        min: u32,
        default: Option<u32>,
    },
    /// A number of hosts or a percentage.
    Count {
        default: Option<u32>,
    },
    /// One of some words.
    Word {
        words: &'static [Word],
        default: &'static str,
    },
    /// Different words in an order.
    Words {
        words: &'static [Word],
    },
    /// A list of templates over host facts.
    Templates,
    Map(&'static Shape),
    List {
        of: &'static Shape,
        may_be_empty: bool,
    },
}

#[derive(Debug)]
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) about: &'static str,
    /// A known word that this version does not do: what to use until then.
    pub(super) instead: Option<&'static str>,
}

impl Word {
    const fn new(word: &'static str, about: &'static str) -> Self {
        Self { word, about, instead: None }
    }

    const fn later(word: &'static str, about: &'static str, instead: &'static str) -> Self {
        Self { word, about, instead: Some(instead) }
    }
}

impl Shape {
    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// The version of the document that this reader reads.
pub(super) const VERSION: u64 = 1;

/// Larger numbers are slips: no cloud has more hosts, and no limit near this one limits anything.
pub(super) const WHOLE_MAX: u32 = 100_000;

/// A week. No step of a maintenance takes longer, and `30d` where `30m` was meant would stop a run for a month.
pub(super) const DURATION_MAX_S: u64 = 7 * 24 * 3600;

const MINUTE_S: u64 = 60;

pub(super) static PLAN: Shape = Shape {
    what: "the plan",
    rule: Rule::None,
    fields: &[
        required("furlough", Kind::Version, "The version of the document; the first line of every plan."),
        required("name", Kind::Text, "What the run is called on screens, in journals and in the disabled reason."),
        optional("cloud", Kind::Text, "The entry of clouds.yaml; without it the command line or OS_CLOUD decides."),
        required(
            "hosts",
            Kind::List { of: &SELECTOR, may_be_empty: false },
            "The hosts to take out of service: entries add up, inside one entry every key must match.",
        ),
        optional(
            "exclude",
            Kind::List { of: &SELECTOR, may_be_empty: true },
            "Hosts that stay in service although `hosts` names them.",
        ),
        optional("waves", Kind::Map(&WAVES), "How many hosts are out of service together."),
        optional("drain", Kind::Map(&DRAIN), "How hosts are emptied of servers."),
        optional(
            "maintain",
            Kind::List { of: &ACTION, may_be_empty: true },
            "What is done to each empty host, in this order.",
        ),
        optional(
            "verify",
            Kind::List { of: &ACTION, may_be_empty: true },
            "What must succeed before a host is given back, in this order.",
        ),
        optional(
            "finish",
            Kind::Word { words: FINISH, default: "enable" },
            "What becomes of a host after its last step.",
        ),
        optional(
            "on_failure",
            Kind::Word { words: ON_FAILURE, default: "hold" },
            "What a failed step does to the rest of the run.",
        ),
    ],
};

static SELECTOR: Shape = Shape {
    what: "a host selector",
    rule: Rule::AtLeastOne,
    fields: &[
        optional("name", Kind::Patterns, "One glob over host names, or a list of them."),
        optional("aggregate", Kind::Text, "The name of a host aggregate."),
        optional("zone", Kind::Text, "The name of an availability zone."),
        optional("where", Kind::Condition(Scope::Host), "A CEL condition over host facts."),
    ],
};

static WAVES: Shape = Shape {
    what: "`waves`",
    rule: Rule::None,
    fields: &[
        optional("max_hosts", Kind::Count { default: Some(1) }, "Hosts out of service together, at most."),
        optional("first", Kind::Count { default: None }, "The size of the first wave, the canary."),
    ],
};

static DRAIN: Shape = Shape {
    what: "`drain`",
    rule: Rule::None,
    fields: &[
        optional(
            "servers",
            Kind::List { of: &SERVER_RULE, may_be_empty: false },
            "How servers leave: the first entry whose condition holds decides, the last one has none. \
             Without this key: `ladder: [live, cold]` for every server.",
        ),
        optional(
            "destinations",
            Kind::Word { words: DESTINATIONS, default: "scheduler" },
            "Who chooses where servers go.",
        ),
        optional("limits", Kind::Map(&LIMITS), "Migrations under way at once."),
        optional("live", Kind::Map(&LIVE), "How live migrations are done and given up."),
        optional("cold", Kind::Map(&COLD), "How cold migrations are given up."),
        optional(
            "power_timeout",
            Kind::Duration { min_s: 1, default_s: 5 * MINUTE_S },
            "How long one stop or start of a server may take.",
        ),
        optional(
            "late_arrivals",
            Kind::Duration { min_s: 0, default_s: 30 },
            "How long after a host was disabled a build or move already on its way may still land: the host is not \
             called empty before that.",
        ),
    ],
};

static SERVER_RULE: Shape = Shape {
    what: "an entry of `drain.servers`",
    rule: Rule::None,
    fields: &[
        optional("where", Kind::Condition(Scope::Server), "A CEL condition over server and host facts."),
        required("ladder", Kind::Words { words: RUNGS }, "Methods in the order they are tried."),
    ],
};

static LIMITS: Shape = Shape {
    what: "`drain.limits`",
    rule: Rule::None,
    fields: &[
        optional("cloud", Kind::Whole { min: 1, default: Some(20) }, "In the whole cloud, by this run."),
        optional("source", Kind::Whole { min: 1, default: Some(1) }, "Copying away from one host."),
        optional(
            "destination",
            Kind::Whole { min: 1, default: None },
            "Towards one host; left out, there is no limit.",
        ),
        optional(
            "queue_ahead",
            Kind::Whole { min: 0, default: Some(2) },
            "Live migrations held in Nova's queue behind each source's running ones; 0 turns it off.",
        ),
    ],
};

static LIVE: Shape = Shape {
    what: "`drain.live`",
    rule: Rule::None,
    fields: &[
        optional(
            "block_migration",
            Kind::Word { words: BLOCK_MIGRATION, default: "auto" },
            "Whether local disks are copied with the memory.",
        ),
        optional(
            "stalled_after",
            Kind::Duration { min_s: 1, default_s: 90 },
            "Without progress for this long, a live migration is aborted and the next rung is tried.",
        ),
        optional("timeout", Kind::Map(&LIVE_TIMEOUT), "How long one live migration may take."),
    ],
};

static COLD: Shape = Shape {
    what: "`drain.cold`",
    rule: Rule::None,
    fields: &[optional("timeout", Kind::Map(&COLD_TIMEOUT), "How long one cold migration may take.")],
};

static LIVE_TIMEOUT: Shape = Shape {
    what: "`drain.live.timeout`",
    rule: Rule::None,
    fields: &[
        optional("base", Kind::Duration { min_s: 1, default_s: 2 * MINUTE_S }, BASE),
        optional("per_gib", Kind::Duration { min_s: 0, default_s: MINUTE_S }, PER_GIB),
    ],
};

static COLD_TIMEOUT: Shape = Shape {
    what: "`drain.cold.timeout`",
    rule: Rule::None,
    fields: &[
        optional("base", Kind::Duration { min_s: 1, default_s: 5 * MINUTE_S }, BASE),
        optional("per_gib", Kind::Duration { min_s: 0, default_s: 2 * MINUTE_S }, PER_GIB),
    ],
};

const BASE: &str = "Allowed for any server.";
const PER_GIB: &str = "Allowed in addition for each GiB of memory, and of local disk where it is copied.";

static ACTION: Shape = Shape {
    what: "an entry of `maintain` or `verify`",
    rule: Rule::ExactlyOne,
    fields: &[
        optional("run", Kind::Map(&RUN), "Runs a command on the machine furlough runs on."),
        optional("wait", Kind::Map(&WAIT), "Waits until a condition over host facts holds."),
    ],
};

static RUN: Shape = Shape {
    what: "`run`",
    rule: Rule::None,
    fields: &[
        required("command", Kind::Templates, "The program and its arguments, each a template: no shell reads them."),
        optional(
            "timeout",
            Kind::Duration { min_s: 1, default_s: 30 * MINUTE_S },
            "After this long the command is ended and the step has failed.",
        ),
    ],
};

static WAIT: Shape = Shape {
    what: "`wait`",
    rule: Rule::None,
    fields: &[
        required("until", Kind::Condition(Scope::Host), "A CEL condition over host facts."),
        optional(
            "timeout",
            Kind::Duration { min_s: 1, default_s: 30 * MINUTE_S },
            "After this long without it the step has failed.",
        ),
    ],
};

static RUNGS: &[Word] = &[
    Word::new("live", "live migration, the server goes on running"),
    Word::new("cold", "cold migration, the server is off while it moves"),
    Word::new("stop", "stopped, left on the host, started again afterwards"),
    Word::new("leave", "stays as it is and is named in the report"),
];

static DESTINATIONS: &[Word] = &[
    Word::new("scheduler", "Nova's scheduler chooses"),
    Word::later("planned", "furlough chooses each destination beforehand", "scheduler"),
];

static BLOCK_MIGRATION: &[Word] = &[
    Word::new("auto", "Nova looks at the storage of both hosts"),
    Word::new("always", "local disks are copied"),
    Word::new("never", "disks are on shared storage"),
];

static FINISH: &[Word] = &[
    Word::new("enable", "enabled again, exactly as it was before"),
    Word::new("keep_disabled", "left out of service, with the run's reason"),
];

static ON_FAILURE: &[Word] = &[
    Word::new("hold", "no further host is taken out of service, those already out are finished"),
    Word::new("continue", "every other host goes on"),
    Word::later("rollback", "what was done is undone", "hold"),
];

const fn required(key: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { key, kind, required: true, about }
}

const fn optional(key: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { key, kind, required: false, about }
}

/// Every place of the document where `key` is a key: `drain.limits`.
pub(super) fn homes(key: &str) -> Vec<String> {
    let mut homes = Vec::new();
    walk(&PLAN, "", &mut |path, shape| {
        if shape.field(key).is_some() {
            homes.push(path.to_owned());
        }
    });
    homes
}

/// Every mapping of the document with the way to it.
pub(super) fn walk(shape: &'static Shape, path: &str, visit: &mut dyn FnMut(&str, &'static Shape)) {
    visit(path, shape);
    for field in shape.fields {
        match &field.kind {
            Kind::Map(inner) => walk(inner, &join(path, field.key), visit),
            Kind::List { of, .. } => walk(of, &format!("{}[]", join(path, field.key)), visit),
            _ => {}
        }
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
