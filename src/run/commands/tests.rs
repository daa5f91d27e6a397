use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::supervisor::supervise_with;
use super::{CommandError, CommandSpec, CommandState, Commands, Supervised};
use crate::event::Output;

const RECORD: &str = "FURLOUGH_TEST_RECORD";
const STARTER: &str = "FURLOUGH_TEST_STARTER";
const SCRIPT: &str = "FURLOUGH_TEST_SCRIPT";
const EXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/commands/furlough.sh");

/// Not a test: the supervisor's process.
#[test]
#[ignore = "started by the other tests here"]
fn supervisor() {
    let Ok(dir) = std::env::var(RECORD) else { return };
    let code = supervise_with(Path::new(&dir), Duration::from_millis(500));
    std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
}

/// Not a test: a furlough that starts a command and is killed.
#[tokio::test]
#[ignore = "started by the other tests here"]
async fn starter() {
    let Ok(dir) = std::env::var(STARTER) else { return };
    let bench = Bench { dir: PathBuf::from(dir) };
    bench.commands().start(&bench.spec(&std::env::var(SCRIPT).unwrap())).await.unwrap();
    println!("started");
    std::thread::sleep(Duration::from_secs(60));
}

struct Bench {
    dir: PathBuf,
}

impl Bench {
    fn new() -> (Self, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir: dir.path().to_owned() };
        (bench, dir)
    }

    fn commands(&self) -> Supervised {
        Supervised::new(&self.dir.join("records"), Path::new(EXE)).unwrap()
    }

    fn spec(&self, script: &str) -> CommandSpec {
        CommandSpec {
            key: "r/cmp-07/maintain/0/1".into(),
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout_s: 30,
            env: vec![("FURLOUGH_HOST".into(), "cmp-07".into())],
            cwd: self.dir.clone(),
        }
    }

    async fn state(&self) -> CommandState {
        self.commands().state("r/cmp-07/maintain/0/1").await.unwrap()
    }

    /// Once it no longer runs.
    async fn ended(&self) -> CommandState {
        let started = Instant::now();
        loop {
            match self.state().await {
                CommandState::Running => assert!(started.elapsed() < Duration::from_secs(20), "it does not end"),
                other => return other,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn run(&self, spec: &CommandSpec) -> CommandState {
        self.commands().start(spec).await.unwrap();
        self.ended().await
    }

    /// The process id that the command writes into this file.
    async fn pid(&self, name: &str) -> Pid {
        for _ in 0..1000 {
            if let Ok(text) = fs::read_to_string(self.dir.join(name))
                && text.ends_with('\n')
            {
                return Pid::from_raw(text.trim().parse().unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {name}");
    }
}

fn exited(text: &str, code: i32) -> CommandState {
    CommandState::Exited(Output { text: text.to_owned(), cut_bytes: 0, exit_code: Some(code) })
}

/// A killed process is a zombie until somebody reaps it.
async fn is_gone(pid: Pid) -> bool {
    for _ in 0..300 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
        if test_kill_process(pid).is_err() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn what_it_wrote_and_how_it_ended() {
    let (bench, _dir) = Bench::new();
    assert_eq!(bench.state().await, CommandState::NeverStarted);
    let spec = bench.spec("echo \"$FURLOUGH_HOST in $(pwd)\"; echo oh >&2; cat; exit 3");
    let text = format!("cmp-07 in {}\noh\n", bench.dir.display());
    assert_eq!(bench.run(&spec).await, exited(&text, 3));
    // It is a record: asked again, later, by another.
    assert_eq!(bench.state().await, exited(&text, 3));
    let again = bench.commands().start(&spec).await;
    assert!(matches!(again, Err(CommandError::AlreadyStarted { .. })), "{again:?}");
    bench.commands().cancel(&spec.key).await.unwrap();
}

#[tokio::test]
async fn it_has_a_session_of_its_own() {
    let (bench, _dir) = Bench::new();
    // The session is its supervisor's, the process group its own.
    let script = "test $(cut -d' ' -f6 /proc/$$/stat) = $PPID && test $(cut -d' ' -f5 /proc/$$/stat) = $$";
    assert_eq!(bench.run(&bench.spec(script)).await, exited("", 0));
}

#[tokio::test]
async fn arguments_are_not_for_a_shell() {
    let (bench, _dir) = Bench::new();
    let argv = ["printf", "%s|", "a b", "$(id)", "", "*"].map(str::to_owned).to_vec();
    assert_eq!(bench.run(&CommandSpec { argv, ..bench.spec("") }).await, exited("a b|$(id)||*|", 0));
}

#[tokio::test]
async fn what_cannot_be_started_says_so() {
    for (argv, cwd, code, text) in [
        ("no-such-program", "", 127, "no-such-program could not be started: No such file"),
        ("./furlough.txt", "", 126, "./furlough.txt could not be started: Permission denied"),
        ("true", "gone", 127, "true could not be started: there is no directory"),
    ] {
        let (bench, _dir) = Bench::new();
        fs::write(bench.dir.join("furlough.txt"), "").unwrap();
        let spec = CommandSpec { argv: vec![argv.into()], cwd: bench.dir.join(cwd), ..bench.spec("") };
        match bench.run(&spec).await {
            CommandState::Exited(output) => {
                assert_eq!(output.exit_code, Some(code), "{output:?}");
                assert!(output.text.starts_with(&format!("[furlough: {text}")), "{output:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let (bench, _dir) = Bench::new();
    for argv in [vec![], vec![String::new()]] {
        let refused = bench.commands().start(&CommandSpec { argv, ..bench.spec("") }).await;
        assert!(matches!(refused, Err(CommandError::NotRun { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn output_is_bounded() {
    let (bench, _dir) = Bench::new();
    let spec = bench.spec("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last");
    let CommandState::Exited(output) = bench.run(&spec).await else { panic!() };
    assert_eq!((output.cut_bytes, output.exit_code), (3_000_000 + 12 - 65_536, Some(0)));
    assert!(output.text.starts_with("first\nxxx") && output.text.ends_with("xxx\nlast\n"));
    assert!(output.text.len() < 66_000);
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let (bench, _dir) = Bench::new();
    // A grandchild that does not care for TERM, and one that does.
    let script = "echo begun; (trap '' TERM; sh -c 'echo $$ > deaf; while :; do sleep 0.1; done') & \
                  sh -c 'echo $$ > other; exec sleep 60' & wait";
    let spec = CommandSpec { timeout_s: 1, ..bench.spec(script) };
    bench.commands().start(&spec).await.unwrap();
    let (deaf, other) = (bench.pid("deaf").await, bench.pid("other").await);
    assert_eq!(bench.state().await, CommandState::Running);
    let CommandState::TimedOut(output) = bench.ended().await else { panic!() };
    assert_eq!(output.text, "begun\n[furlough: ended after its timeout of 1 s]\n");
    assert_eq!(output.exit_code, None);
    assert!(is_gone(deaf).await && is_gone(other).await);
}

#[tokio::test]
async fn a_cancelled_command_may_clean_up() {
    let (bench, _dir) = Bench::new();
    let script = "trap 'echo cleaned; exit 9' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let never = bench.commands().cancel("r/cmp-07/maintain/0/1").await;
    assert!(matches!(never, Err(CommandError::NeverStarted { .. })), "{never:?}");
    bench.commands().start(&bench.spec(script)).await.unwrap();
    bench.pid("pid").await;
    bench.commands().cancel("r/cmp-07/maintain/0/1").await.unwrap();
    // The shell may have a word to say about its `sleep`.
    let CommandState::Exited(output) = bench.ended().await else { panic!() };
    assert!(output.text.ends_with("cleaned\n[furlough: cancelled]\n"), "{output:?}");
    assert_eq!(output.exit_code, Some(9));
}

#[tokio::test]
async fn a_killed_command_has_no_exit_code() {
    let (bench, _dir) = Bench::new();
    let CommandState::Exited(output) = bench.run(&bench.spec("kill -9 $$")).await else { panic!() };
    let text = "[furlough: killed by signal 9]\n".to_owned();
    assert_eq!(output, Output { text, cut_bytes: 0, exit_code: None });
}

#[tokio::test]
async fn what_it_leaves_in_the_background_is_not_waited_for() {
    let (bench, _dir) = Bench::new();
    let script = "sleep 30 >/dev/null 2>&1 & echo $! > quiet; sleep 30 & echo $! > loud; echo done";
    let CommandState::Exited(output) = bench.run(&bench.spec(script)).await else { panic!() };
    assert!(output.text.starts_with("done\n[furlough: it left a process behind"), "{output:?}");
    for name in ["quiet", "loud"] {
        let pid = bench.pid(name).await;
        test_kill_process(pid).expect("it goes on");
        kill_process(pid, Signal::KILL).unwrap();
    }
}

/// Starts it from another process, which has a credential in its environment, and kills that one.
fn start_and_die(bench: &Bench, script: &str) {
    let mut starter = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run::commands::tests::starter", "--ignored", "--nocapture", "--quiet"])
        .env(STARTER, &bench.dir)
        .env(SCRIPT, script)
        .env("OS_PASSWORD", "hunter2")
        .env("OS_CLOUD", "lab")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(starter.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("started") {}
    starter.kill().unwrap();
    starter.wait().unwrap();
}

#[tokio::test]
async fn it_survives_the_one_who_started_it() {
    let (bench, _dir) = Bench::new();
    start_and_die(&bench, "sleep 0.7; echo survived");
    assert_eq!(bench.state().await, CommandState::Running);
    let again = bench.commands().start(&bench.spec("echo twice")).await;
    assert!(matches!(again, Err(CommandError::AlreadyStarted { .. })), "{again:?}");
    assert_eq!(bench.ended().await, exited("survived\n", 0));
}

#[tokio::test]
async fn it_is_given_no_credential() {
    let (bench, _dir) = Bench::new();
    start_and_die(
        &bench,
        "echo $OS_CLOUD ${OS_PASSWORD-none}; tr '\\0' '\\n' < /proc/$PPID/environ | grep -c ^OS_PASSWORD",
    );
    assert_eq!(bench.ended().await, exited("lab none\n0\n", 1));
}

#[tokio::test]
async fn without_its_supervisor_it_is_lost() {
    let (bench, _dir) = Bench::new();
    // Its parent is the supervisor.
    let script = "echo $PPID > supervisor; echo $$ > pid; exec sleep 60";
    bench.commands().start(&bench.spec(script)).await.unwrap();
    let (supervisor, pid) = (bench.pid("supervisor").await, bench.pid("pid").await);
    kill_process(supervisor, Signal::KILL).unwrap();
    assert_eq!(bench.ended().await, CommandState::Lost);
    let again = bench.commands().start(&bench.spec("echo twice")).await;
    assert!(matches!(again, Err(CommandError::AlreadyStarted { .. })), "{again:?}");
    bench.commands().cancel("r/cmp-07/maintain/0/1").await.unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_supervisor_that_does_not_begin_has_run_nothing() {
    let (bench, _dir) = Bench::new();
    // `ls` knows no `__supervise`, and says so.
    for (exe, why) in [("/bin/ls", "ended before it began it: "), ("/none", "/none could not be started: No such file")]
    {
        let broken = Supervised::new(&bench.dir.join("records"), Path::new(exe)).unwrap();
        let refused = broken.start(&bench.spec("echo ran")).await.unwrap_err().to_string();
        assert!(refused.starts_with("command r/cmp-07/maintain/0/1 was not run: its supervisor "), "{refused}");
        assert!(refused.contains(why), "{refused}");
        assert_eq!(refused.contains("__supervise"), exe == "/bin/ls", "{refused}");
        assert_eq!(bench.state().await, CommandState::NeverStarted);
    }
    // Mended, the same key can be started.
    assert_eq!(bench.run(&bench.spec("echo ran")).await, exited("ran\n", 0));
}

#[tokio::test]
async fn of_many_starts_one_starts_it() {
    let (bench, _dir) = Bench::new();
    let spec = bench.spec("echo x >> count");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (commands, spec) = (bench.commands(), spec.clone());
        tasks.spawn(async move { commands.start(&spec).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|started| *started).count(), 1);
    assert_eq!(bench.ended().await, exited("", 0));
    assert_eq!(fs::read_to_string(bench.dir.join("count")).unwrap(), "x\n");
}
