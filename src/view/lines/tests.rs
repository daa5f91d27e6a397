use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::view::fixture::{PLAIN, any_events, is_harmless, night, progress, without_color};

fn lines(events: &[Event], style: Style, detailed: bool) -> String {
    let lines = Lines::new(Vec::new(), style);
    let mut lines = if detailed { lines.detailed() } else { lines };
    for event in events {
        lines.update(&Update::Event(event.clone())).unwrap();
    }
    lines.finish().unwrap();
    String::from_utf8(lines.into_inner()).unwrap()
}

#[test]
fn a_night_reads_from_top_to_bottom() {
    insta::assert_snapshot!(lines(&night(), PLAIN, false), @r#"
    2026-11-23 (UTC)
    16:42:07Z run              plan kernel-reboot on prod: 2 hosts in 2 waves, 4 servers (furlough 0.1.0)
    16:42:10Z wave 1   cmp-07  compute service  disabled after 2 s
    16:42:13Z wave 1   cmp-07  servers  listed: 2, all of them in the plan
    16:42:16Z wave 1   cmp-07  web-3 (9f2c1a07…)  live → cmp-11  under way, migration 812
    16:42:44Z wave 1   cmp-07  web-3 (9f2c1a07…)  live  attempt 1 failed after 30 s: the live migration ended as `failed`; Nova says: Live Migration failure: operation failed: guest CPU doesn't match
    16:42:45Z wave 1   cmp-07  web-3 (9f2c1a07…)  cold  attempt 2 begins
    16:42:46Z wave 1   cmp-07  web-3 (9f2c1a07…)  cold → cmp-12  under way, migration 813
    16:43:45Z wave 1   cmp-07  web-3 (9f2c1a07…)  cold → cmp-12  done in 1 min
    16:43:46Z wave 1   cmp-07  db-1 (1b6d2f40…)  cold  the answer was lost (connection reset); looking for what became of it
    16:44:57Z wave 1   cmp-07  db-1 (1b6d2f40…)  cold → cmp-11  done in 1 min 11 s
    16:45:00Z wave 1   cmp-07  host  seen empty twice after 2 s
    16:45:02Z wave 1   cmp-07  `ssh cmp-07 'sudo systemctl reboot'`  begins
    16:48:22Z wave 1   cmp-07  `ssh cmp-07 'sudo systemctl reboot'`  exit code 0 after 3 min 20 s
    16:48:23Z wave 1   cmp-07  wait until host.service.state == 'up'  begins
    16:48:25Z wave 1   cmp-07  wait until host.service.state == 'up'  holds after 2 s
    16:48:29Z wave 1   cmp-07  compute service  enabled after 2 s
    16:48:32Z wave 2   cmp-08  compute service  already so: it was disabled before
    16:48:35Z wave 2   cmp-08  servers  listed: 2, all of them in the plan
    16:48:42Z wave 2   cmp-08  ビルド-\x1b[31mold (c0ffee00…)  stop  stopped in 6 s, still on the host
    16:48:45Z wave 2   cmp-08  host  nothing more is to leave after 2 s
    16:48:45Z run              note: the cloud did not answer for 20 s
    16:48:47Z wave 2   cmp-08  `ssh cmp-08 'sudo systemctl reboot'`  begins
    16:48:50Z wave 2   cmp-08  `ssh cmp-08 'sudo systemctl reboot'`  FAILED after 3 s: the command exited with 255; to do: see to the host, then `furlough resume --retry`
              | exit code 255
              | Connecting…
              | ssh: connect to host cmp-08 port 22: \x1b]0;owned\x07No route to host
    16:48:51Z run              failed: 4 things left over, 214 requests
    "#);
}

#[test]
fn every_request_and_answer_has_a_line_in_detail() {
    let all = lines(&night(), PLAIN, true);
    let first: String = all.lines().skip(6).take(5).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(first, @r#"
    16:42:14Z wave 1   cmp-07  web-3 (9f2c1a07…)  live  begins
    16:42:14Z wave 1   cmp-07  web-3 (9f2c1a07…)  live  asks: live migration to a host of the scheduler's choice
    16:42:15Z wave 1   cmp-07  web-3 (9f2c1a07…)  live  accepted (req-4a1e)
    16:42:16Z wave 1   cmp-07  web-3 (9f2c1a07…)  live → cmp-11  under way, migration 812
    16:42:44Z wave 1   cmp-07  web-3 (9f2c1a07…)  live  attempt 1 failed after 30 s: the live migration ended as `failed`; Nova says: Live Migration failure: operation failed: guest CPU doesn't match
    "#);
}

#[test]
fn what_was_before_a_resume_is_known_and_not_repeated() {
    let night = night();
    let (past, rest) = night.split_at(15);
    let mut resumed = Lines::new(Vec::new(), PLAIN);
    resumed.catch_up(past);
    for event in rest {
        resumed.update(&Update::Event(event.clone())).unwrap();
    }
    let text = String::from_utf8(resumed.into_inner()).unwrap();
    assert!(lines(&night, PLAIN, false).ends_with(text.split_once('\n').unwrap().1), "{text}");
    assert!(text.contains("db-1 (1b6d2f40…)") && !text.contains("web-3"), "{text}");
}

#[test]
fn progress_has_no_line() {
    let mut lines = Lines::new(Vec::new(), PLAIN);
    lines.update(&Update::Progress(progress(100))).unwrap();
    assert!(lines.into_inner().is_empty());
}

#[test]
fn a_closed_pipe_is_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let update = Update::Event(night().remove(0));
    let error = Lines::new(Closed, PLAIN).update(&update).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_events_have_harmless_lines(events in any_events()) {
        let text = lines(&events, PLAIN, true);
        prop_assert!(is_harmless(&text), "{text:?}");
        prop_assert!(events.is_empty() || !text.is_empty());
        prop_assert_eq!(without_color(&lines(&events, Style { color: true, ..PLAIN }, true)), text);
    }
}
