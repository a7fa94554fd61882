//! Random policies against random files: `decide` agrees with an evaluator too
//! simple to be wrong, `explain` agrees with `decide`, and all/any/not obey the
//! laws of logic.

use super::*;
use proptest::prelude::*;

/// A condition as a person would think of it.
#[derive(Debug, Clone)]
enum Naive {
    MinSize(u64),
    MaxSize(u64),
    Owner(u32),
    IdleDays(i64),
    MtimeDays(i64),
    RecallDays(i64),
    Extension(&'static str),
    Below(&'static str),
    ModeAny(u32),
    NlinkMax(u32),
    State(FileState),
    Tagged(bool),
    Class(usize),
    All(Vec<Naive>),
    Any(Vec<Naive>),
    Not(Box<Naive>),
}

/// A file, owned.
#[derive(Debug, Clone)]
struct File {
    path: String,
    size_bytes: u64,
    uid: u32,
    mode: u32,
    nlink: u32,
    atime_days: i64,
    mtime_days: i64,
    recall_days: Option<i64>,
    state: FileState,
    tagged: bool,
}

impl Naive {
    /// The condition as the inside of an inline table.
    fn toml(&self) -> String {
        let list = |parts: &[Naive]| -> String {
            let tables: Vec<String> =
                parts.iter().map(|part| format!("{{ {} }}", part.toml())).collect();
            tables.join(", ")
        };
        match self {
            Self::MinSize(bytes) => format!("min_size = {bytes}"),
            Self::MaxSize(bytes) => format!("max_size = {bytes}"),
            Self::Owner(uid) => format!("owner = {uid}"),
            Self::IdleDays(days) => format!("idle = \"{days}d\""),
            Self::MtimeDays(days) => format!("mtime_older = \"{days}d\""),
            Self::RecallDays(days) => format!("recall_older = \"{days}d\""),
            Self::Extension(ext) => format!("include = \"**/*.{ext}\""),
            Self::Below(dir) => format!("include = \"{dir}/\""),
            Self::ModeAny(bits) => format!("mode_any = 0o{bits:o}"),
            Self::NlinkMax(most) => format!("nlink_max = {most}"),
            Self::State(state) => format!("state = \"{state}\""),
            Self::Tagged(tagged) => format!("xattr = {{ \"user.tag\" = {tagged} }}"),
            Self::Class(index) => format!("class = \"c{index}\""),
            Self::All(parts) => format!("all = [{}]", list(parts)),
            Self::Any(parts) => format!("any = [{}]", list(parts)),
            Self::Not(part) => format!("not = {{ {} }}", part.toml()),
        }
    }

    fn holds(&self, file: &File, classes: &[Naive]) -> bool {
        let idle = file.atime_days.min(file.mtime_days).min(file.recall_days.unwrap_or(i64::MAX));
        match self {
            Self::MinSize(bytes) => file.size_bytes >= *bytes,
            Self::MaxSize(bytes) => file.size_bytes <= *bytes,
            Self::Owner(uid) => file.uid == *uid,
            Self::IdleDays(days) => idle.max(0) >= *days,
            Self::MtimeDays(days) => file.mtime_days.max(0) >= *days,
            Self::RecallDays(days) => file.recall_days.is_none_or(|recall| recall.max(0) >= *days),
            Self::Extension(ext) => file.path.ends_with(&format!(".{ext}")),
            Self::Below(dir) => file.path.starts_with(&format!("{dir}/")),
            Self::ModeAny(bits) => file.mode & bits != 0,
            Self::NlinkMax(most) => file.nlink <= *most,
            Self::State(state) => file.state == *state,
            Self::Tagged(tagged) => file.tagged == *tagged,
            Self::Class(index) => classes[*index].holds(file, classes),
            Self::All(parts) => parts.iter().all(|part| part.holds(file, classes)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(file, classes)),
            Self::Not(part) => !part.holds(file, classes),
        }
    }

    fn mentions_nlink(&self, classes: &[Naive]) -> bool {
        match self {
            Self::NlinkMax(_) => true,
            Self::Class(index) => classes[*index].mentions_nlink(classes),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().any(|part| part.mentions_nlink(classes))
            }
            Self::Not(part) => part.mentions_nlink(classes),
            _ => false,
        }
    }
}

/// What the language promises of a rule, with the defaults that come with it.
fn naive_rule_matches(action: Action, naive: &Naive, file: &File, classes: &[Naive]) -> bool {
    let copied = action == Action::Ignore
        || ((file.nlink == 1 || naive.mentions_nlink(classes)) && file.mtime_days > 0);
    let stubbed = action != Action::Tier
        || (file.size_bytes >= 64 << 10 && file.recall_days.is_none_or(|days| days >= 1));
    copied && stubbed && naive.holds(file, classes)
}

fn with_facts<T>(file: &File, check: impl FnOnce(&Facts<'_>) -> T) -> T {
    let mut facts = facts(&file.path);
    (facts.size_bytes, facts.uid, facts.mode, facts.nlink) =
        (file.size_bytes, file.uid, file.mode, file.nlink);
    facts.atime_ns = NOW - file.atime_days * DAY;
    facts.mtime_ns = NOW - file.mtime_days * DAY;
    facts.last_recall_ns = file.recall_days.map(|days| NOW - days * DAY);
    facts.state = file.state;
    let tagged = file.tagged;
    let xattr = move |name: &str| (tagged && name == "user.tag").then(|| b"x".to_vec());
    facts.xattr = &xattr;
    check(&facts)
}

fn any_state() -> impl Strategy<Value = FileState> {
    proptest::sample::select(&FileState::ALL[..])
}

prop_compose! {
    fn any_file()(
        dir in "(|a/|b/|a/b/)",
        name in "[xy]{1,2}\\.(mkv|doc|txt)",
        size_bytes in prop_oneof![0_u64..4, Just(65_535), Just(65_536), Just(1 << 30)],
        uid in 0_u32..3,
        mode in prop_oneof![Just(0o644), Just(0o755), Just(0o4711)],
        nlink in 1_u32..4,
        atime_days in -3_i64..6,
        mtime_days in -3_i64..6,
        recall_days in proptest::option::of(-2_i64..6),
        state in any_state(),
        tagged in any::<bool>(),
    ) -> File {
        let path = format!("{dir}{name}");
        File { path, size_bytes, uid, mode, nlink, atime_days, mtime_days, recall_days, state, tagged }
    }
}

/// Conditions that refer only to classes below `classes`, so that none is
/// circular.
fn any_condition(classes: usize) -> BoxedStrategy<Naive> {
    let leaf = prop_oneof![
        prop_oneof![0_u64..4, Just(65_536)].prop_map(Naive::MinSize),
        prop_oneof![0_u64..4, Just(65_536)].prop_map(Naive::MaxSize),
        (0_u32..3).prop_map(Naive::Owner),
        (0_i64..6).prop_map(Naive::IdleDays),
        (0_i64..6).prop_map(Naive::MtimeDays),
        (0_i64..6).prop_map(Naive::RecallDays),
        proptest::sample::select(vec!["mkv", "doc"]).prop_map(Naive::Extension),
        proptest::sample::select(vec!["a", "a/b"]).prop_map(Naive::Below),
        proptest::sample::select(vec![0o111_u32, 0o4000]).prop_map(Naive::ModeAny),
        (1_u32..4).prop_map(Naive::NlinkMax),
        any_state().prop_map(Naive::State),
        any::<bool>().prop_map(Naive::Tagged),
    ];
    let leaf = match classes {
        0 => leaf.boxed(),
        _ => prop_oneof![6 => leaf, 1 => (0..classes).prop_map(Naive::Class)].boxed(),
    };
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Naive::All),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Naive::Any),
            inner.prop_map(|part| Naive::Not(Box::new(part))),
        ]
    })
    .boxed()
}

fn any_action() -> impl Strategy<Value = Action> {
    proptest::sample::select(vec![Action::Ignore, Action::Upload, Action::Tier])
}

fn load(classes: &[Naive], rules: &[(Action, Naive)]) -> PolicySet {
    let mut text = String::new();
    for (index, class) in classes.iter().enumerate() {
        text += &format!("[class.c{index}]\n{}\n", class.toml());
    }
    for (index, (action, naive)) in rules.iter().enumerate() {
        text +=
            &format!("[[rule]]\nname = \"r{index}\"\naction = \"{action}\"\n{}\n", naive.toml());
    }
    PolicySet::load(&[("p.toml", &text)], &Names::none())
        .unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// Whether a single ignore rule with this condition matches.
fn matches(naive: &Naive, file: &File) -> bool {
    let set = load(&[], &[(Action::Ignore, naive.clone())]);
    with_facts(file, |facts| set.decide(facts, NOW).rule.is_some())
}

fn not(part: &Naive) -> Naive {
    Naive::Not(Box::new(part.clone()))
}

proptest! {
    #[test]
    fn decide_agrees_with_a_naive_evaluator_and_explain_with_both(
        classes in (any_condition(0), any_condition(1), any_condition(2)),
        rules in proptest::collection::vec((any_action(), any_condition(3)), 1..5),
        files in proptest::collection::vec(any_file(), 1..8),
    ) {
        let classes = [classes.0, classes.1, classes.2];
        let set = load(&classes, &rules);
        for file in &files {
            let want = rules
                .iter()
                .position(|(action, naive)| naive_rule_matches(*action, naive, file, &classes));
            let (found, explained, each) = with_facts(file, |facts| {
                let name = set.decide(facts, NOW).rule.map(|rule| rule.name.clone());
                let outcomes = set.explain(facts, NOW);
                let explained = outcomes.iter().position(|outcome| outcome.decides);
                let each: Vec<bool> = outcomes.iter().map(RuleOutcome::matched).collect();
                (name, explained, each)
            });
            prop_assert_eq!(&found, &want.map(|index| format!("r{index}")), "{:?}", file);
            prop_assert_eq!(explained, want);
            for ((action, naive), matched) in rules.iter().zip(each) {
                prop_assert_eq!(naive_rule_matches(*action, naive, file, &classes), matched);
            }
        }
    }

    #[test]
    fn all_any_and_not_obey_the_laws(
        a in any_condition(0),
        b in any_condition(0),
        c in any_condition(0),
        file in any_file(),
    ) {
        let all = |parts: &[&Naive]| Naive::All(parts.iter().map(|part| (*part).clone()).collect());
        let any = |parts: &[&Naive]| Naive::Any(parts.iter().map(|part| (*part).clone()).collect());
        let laws = [
            (not(&not(&a)), a.clone()),
            (all(&[&a, &b]), all(&[&b, &a])),
            (any(&[&a, &b]), any(&[&b, &a])),
            (not(&all(&[&a, &b])), any(&[&not(&a), &not(&b)])),
            (not(&any(&[&a, &b])), all(&[&not(&a), &not(&b)])),
            (all(&[&a, &any(&[&b, &c])]), any(&[&all(&[&a, &b]), &all(&[&a, &c])])),
            (any(&[&a, &all(&[&b, &c])]), all(&[&any(&[&a, &b]), &any(&[&a, &c])])),
            (all(&[&a, &any(&[&a, &b])]), a.clone()),
            (any(&[&a, &all(&[&a, &b])]), a.clone()),
        ];
        for (left, right) in &laws {
            prop_assert_eq!(matches(left, &file), matches(right, &file), "{:?} = {:?}", left, right);
        }
        prop_assert!(!matches(&all(&[&a, &not(&a)]), &file));
        prop_assert!(matches(&any(&[&a, &not(&a)]), &file));
    }

    /// Waiving ages can only bring more files to a tier rule, and binds all else.
    #[test]
    fn space_only_ever_adds_candidates(naive in any_condition(0), file in any_file()) {
        let set = load(&[], &[(Action::Tier, naive)]);
        let (strict, waived) = with_facts(&file, |facts| {
            (set.decide(facts, NOW).action, set.decide_for_space(facts, NOW).action)
        });
        prop_assert!(waived >= strict);
        prop_assert!(waived == Action::Ignore || (file.size_bytes >= 64 << 10 && file.mtime_days > 0));
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in "(\\PC|\n){0,200}") {
        let _ = PolicySet::load(&[("p.toml", &text)], &Names::none());
    }
}
