use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::execute::{Output, view_for};
use super::load::{Loaded, load, name_of};
use super::{Failure, Surroundings};
use crate::cloud::Inventory;
use crate::event::Update;
use crate::plan::Plan;
use crate::rehearse::made_up::{self, Size, made_up};
use crate::rehearse::{Became, Conditions, NightSetup, Nights, RehearseError, Snapshot, assumed, night, nights};
use crate::view::{self, Rehearsed};

/// The seed of made-up clouds: nights differ in what happens, not in where.
const CLOUD_SEED: u64 = 1;
/// Unless it is asked for nothing goes wrong, so that what a first rehearsal shows is the plan.
const NO_FAULTS: &str = "none";
/// Every figure of every night is kept until the last one has ended, and so many take hours.
const NIGHTS_MAX: u64 = 100_000;
/// A server in a snapshot takes about 2 KiB: this is room for half a million.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Far more than any script of faults.
const FAULTS_BYTES_MAX: u64 = 1 << 20;
/// On a terminal a night is shown so many times faster than it would go by …
const TIMES_FASTER: u32 = 600;
/// … no wait longer than this, so that it always moves …
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// … and in about this long altogether, however long the night.
const SHOW_MAX: Duration = Duration::from_secs(8);

const HELP: &str = "\
The plan is compiled and executed by the same code as by `furlough run`, on a simulated cloud and in virtual time: a \
night takes about a second. Without --from the cloud is made up, with the hosts, aggregates and zones that the plan \
names. The plan's commands are not run; they take a time that is drawn. A command followed by a wait for host.service \
is taken to reboot its host. Everything is decided by the seed: the same seed is the same night.

With --faults FILE the file says in YAML what goes wrong: `chances` (each from 0 to 1), `script` (what is certain to \
happen), `habits` (of Nova) and `commands` (took_s, fails, hangs, lost).

The exit code is the run's; of many nights, the worst one's.

Examples:
  furlough rehearse reboot-rack-a.yaml                     # one night on a made-up cloud
  furlough rehearse reboot-rack-a.yaml --from prod.json    # on what `furlough snapshot` saved
  furlough rehearse reboot-rack-a.yaml --nights 1000 --faults typical
  furlough rehearse reboot-rack-a.yaml --seed 17 --faults harsh";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Rehearse {
    /// The plan; `-` is standard input.
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Rehearse on this snapshot instead of a made-up cloud.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Decides everything that is left to chance; of many nights, the first one's.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// So many nights, each with the next seed, and what they come to together.
    #[arg(long, value_name = "N", value_parser = nights_of)]
    nights: Option<u64>,
    /// What goes wrong: none, typical, harsh, or a YAML file.
    #[arg(long, value_name = "WHAT|FILE", default_value = NO_FAULTS)]
    faults: String,
    /// Hosts of the made-up cloud.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = hosts_of, conflicts_with = "from")]
    hosts: u32,
    /// Servers on each of them, on average.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = servers_of, conflicts_with = "from")]
    servers_per_host: u32,
    /// JSON on standard output: every event of a night as a line, or the figures of many nights.
    #[arg(long)]
    json: bool,
}

fn nights_of(text: &str) -> Result<u64, String> {
    let nights: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    match nights {
        0 => Err("there is nothing to tell of no night; say 1 or more, or leave it out".to_owned()),
        1..=NIGHTS_MAX => Ok(nights),
        _ => Err(format!("at the most {NIGHTS_MAX}: the figures of each are kept until the last has ended")),
    }
}

fn hosts_of(text: &str) -> Result<u32, String> {
    let hosts: u32 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    match hosts {
        0 | 1 => Err("at least 2: the servers of one have to go to another".to_owned()),
        hosts if made_up::HOSTS.contains(&hosts) => Ok(hosts),
        _ => Err(format!("at the most {}; a larger cloud is rehearsed on from a snapshot of it", made_up::HOSTS.end())),
    }
}

fn servers_of(text: &str) -> Result<u32, String> {
    let servers: u32 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if made_up::SERVERS_PER_HOST.contains(&servers) {
        return Ok(servers);
    }
    Err(format!("at the most {}: no hypervisor carries more guests", made_up::SERVERS_PER_HOST.end()))
}

impl Rehearse {
    pub(super) fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        let Loaded::Plan { plan, .. } = load(&self.plan)? else {
            return Err(Failure::usage(format!("{} is a compiled plan", name_of(&self.plan)))
                .remedy("rehearse the plan it was compiled from: on another cloud it compiles to something else"));
        };
        let conditions = self.conditions()?;
        let (inventory, cloud, mut said) = self.cloud(&plan)?;
        said.extend(assumed(&plan));
        let setup = NightSetup::new(*plan, inventory, &cloud).map_err(|error| self.not_compiled(error))?;
        let setup = NightSetup {
            seed: self.seed,
            faults: conditions.faults(),
            habits: conditions.habits,
            commands: conditions.commands,
            ..setup
        };
        if !setup.graph.blockers.is_empty() {
            super::tell(&view::preview(&setup.graph, surroundings.err_style()));
            return Err(Failure::blocked("blocked, and so would the run be; nothing was rehearsed")
                .remedy("what stands in the way is at the top, each with what to do about it"));
        }
        for line in &said {
            super::tell(&format!("rehearsal: {line}\n"));
        }
        if setup.graph.steps.is_empty() {
            super::tell("nothing to do\n");
            return Ok(0);
        }
        let again = self.again();
        let of = Rehearsed { plan: &setup.plan.name, cloud: &cloud, first_seed: self.seed, again: &again };
        match self.nights {
            None => self.one(surroundings, &setup, &of),
            Some(count) => self.many(surroundings, &setup, &of, count),
        }
    }

    fn one(&self, surroundings: &Surroundings, setup: &NightSetup, of: &Rehearsed<'_>) -> Result<u8, Failure> {
        let mut view: Box<dyn view::View + Send> = match surroundings.can_draw() && !self.json {
            true => Box::new(view::Bars::in_virtual_time(surroundings.err_style())),
            false => view_for(surroundings, &Output { json: self.json }),
        };
        let mut pace = Pace::new(surroundings.can_draw() && !self.json);
        let mut show = |update: &Update| {
            pace.wait(update);
            // A closed pipe ends nothing, as in a run.
            let _closed = view.update(update);
        };
        let night = night(setup, &mut show)?;
        let _closed = view.finish();
        let style = if self.json { surroundings.err_style() } else { surroundings.out_style() };
        let report = view::rehearsed(&setup.run_id(), &view::Tally::of(&night.events), of, style);
        if self.json {
            super::tell(&report);
        } else {
            super::print(&report)?;
        }
        Ok(night.ended.ending.exit_code())
    }

    fn many(
        &self,
        surroundings: &Surroundings,
        setup: &NightSetup,
        of: &Rehearsed<'_>,
        count: u64,
    ) -> Result<u8, Failure> {
        let mut all = Nights::default();
        let draws = surroundings.can_draw();
        nights(setup, self.seed, count, &mut |summary| {
            all.take(setup, summary);
            // A line that a hundredth of the nights changes is no flicker.
            if draws && (all.nights == count || all.nights.is_multiple_of(count.div_ceil(100))) {
                super::tell(&format!("\r{} of {count} nights", all.nights));
            }
        });
        if draws {
            super::tell("\n");
        }
        let text = match self.json {
            true => view::nights_json(&all, of),
            false => view::nights(&all, of, surroundings.out_style()),
        };
        super::print(&text)?;
        let codes = all.endings.keys().map(|became| match became {
            Became::Ended { exit_code, .. } => *exit_code,
            Became::Broken { .. } => 1,
        });
        Ok(codes.max().unwrap_or(0))
    }

    /// Where it takes place, what that is called, and what there is to say about it.
    fn cloud(&self, plan: &Plan) -> Result<(Inventory, String, Vec<String>), Failure> {
        let Some(path) = &self.from else {
            let servers = u64::from(self.hosts) * u64::from(self.servers_per_host);
            if servers > made_up::SERVERS_MAX {
                return Err(Failure::usage(format!(
                    "{} hosts with {} servers each are {servers} servers, and a made-up cloud has at the most {}",
                    self.hosts,
                    self.servers_per_host,
                    made_up::SERVERS_MAX
                ))
                .remedy("make one of the two smaller"));
            }
            let size = Size { hosts: self.hosts, servers_per_host: self.servers_per_host };
            let made = made_up(size, CLOUD_SEED, Some(plan));
            return Ok((made.inventory, "made-up".to_owned(), made.said));
        };
        let name = path.display();
        let text = read(path, SNAPSHOT_BYTES_MAX, "snapshot")?;
        let snapshot = Snapshot::read(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        let mut said = vec![format!("on {name}, cloud {} as it was at {}", snapshot.cloud, snapshot.inventory.read_at)];
        if snapshot.anonymous {
            said.push("the snapshot is anonymous: names, tags and metadata are not those of the cloud".to_owned());
        }
        Ok((snapshot.inventory, snapshot.cloud, said))
    }

    fn conditions(&self) -> Result<Conditions, Failure> {
        match self.faults.as_str() {
            NO_FAULTS => return Ok(Conditions::none()),
            "typical" => return Ok(Conditions::typical()),
            "harsh" => return Ok(Conditions::harsh()),
            _ => {}
        }
        let path = Path::new(&self.faults);
        let text = read(path, FAULTS_BYTES_MAX, "file of faults")
            .map_err(|failure| failure.remedy("--faults is none, typical, harsh, or the name of a YAML file"))?;
        Conditions::read(&text).map_err(|error| {
            let place = match error.line {
                0 => path.display().to_string(),
                line => format!("{}:{line}:{}", path.display(), error.column),
            };
            let failure = Failure::usage(format!("{place}: {error}"));
            match error.help {
                Some(help) => failure.remedy(help),
                None => failure,
            }
        })
    }

    fn not_compiled(&self, error: RehearseError) -> Failure {
        let failure = Failure::from(error);
        match self.from {
            Some(_) => failure,
            None => failure.remedy(
                "a made-up cloud has what the plan names, but cannot know what its conditions mean; rehearse on a \
                 snapshot: --from FILE",
            ),
        }
    }

    /// The command line that rehearses the same, less its seed.
    fn again(&self) -> Vec<String> {
        let mut words = vec!["furlough".to_owned(), "rehearse".to_owned(), self.plan.display().to_string()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        match &self.from {
            Some(from) => option("--from", from.display().to_string()),
            None => {
                if self.hosts != 40 {
                    option("--hosts", self.hosts.to_string());
                }
                if self.servers_per_host != 20 {
                    option("--servers-per-host", self.servers_per_host.to_string());
                }
            }
        }
        if self.faults != NO_FAULTS {
            option("--faults", self.faults.clone());
        }
        words
    }
}

fn read(path: &Path, most: u64, what: &str) -> Result<String, Failure> {
    let name = path.display();
    let unreadable = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let read = file.take(most + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > most {
        return Err(Failure::usage(format!("{name} is larger than {most} bytes, which no {what} is")));
    }
    Ok(text)
}

/// Slows a night down to what an eye can follow. Only on a terminal.
struct Pace {
    left: Duration,
    at: Option<Timestamp>,
}

impl Pace {
    fn new(shown: bool) -> Self {
        Self { left: if shown { SHOW_MAX } else { Duration::ZERO }, at: None }
    }

    fn wait(&mut self, update: &Update) {
        let Update::Event(event) = update else { return };
        let before = self.at.replace(event.at).unwrap_or(event.at);
        let gap = Duration::try_from(event.at.duration_since(before)).unwrap_or_default();
        // Ever faster, so that the whole of it never takes longer than it may.
        let share = self.left.as_secs_f64() / SHOW_MAX.as_secs_f64();
        let pause = (gap / TIMES_FASTER).min(PAUSE_MAX).mul_f64(share);
        self.left = self.left.saturating_sub(pause);
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}

impl From<RehearseError> for Failure {
    fn from(error: RehearseError) -> Self {
        match error {
            RehearseError::Compile(error) => error.into(),
            RehearseError::Blocked { .. } => Self::blocked(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}
