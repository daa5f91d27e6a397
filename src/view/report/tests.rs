use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::view::fixture::{Night, PLAIN, any_events, at, ended, is_harmless, night, started, without_color};
use crate::view::text::width;

fn run() -> RunId {
    RunId("20261123-1642-9f2c".into())
}

#[test]
fn a_failed_run_ends_with_what_to_do() {
    insta::assert_snapshot!(report(&run(), &Tally::of(&night()), Detail::Full, PLAIN), @r#"
    Run 20261123-1642-9f2c  failed: 3 things to see to
    plan kernel-reboot on cloud prod, graph 5e1f0c2a9b3d4e6f, furlough 0.1.0
    2026-11-23 16:42:07 UTC to 2026-11-23 16:48:51 UTC (6 min 44 s), 214 requests

    HOST    WAVE  STATE            OUT OF SERVICE   SERVERS
    cmp-07     1  back in service  6 min 19 s       2 moved cold
    cmp-08     2  held             since 16:48:32Z  1 stopped, 1 left by the plan

    SERVER                          HOST BEFORE  HOST NOW  WHAT              TRIES        TOOK
    web-3 (9f2c1a07…)               cmp-07       cmp-12    cold                  2  1 min 31 s
    db-1 (1b6d2f40…)                cmp-07       cmp-11    cold                  1  1 min 11 s
    ビルド-\x1b[31mold (c0ffee00…)  cmp-08       cmp-08    stopped               1         6 s
    gpu (77777777…)                 cmp-08       cmp-08    left by the plan

    Servers  2 moved cold, 1 stopped, 1 left by the plan

    What failed:

      cmp-08  `ssh cmp-08 'sudo systemctl reboot'`  FAILED after 3 s
        why     the command exited with 255
        to do   see to the host, then `furlough resume --retry`
        | exit code 255
        | Connecting…
        | ssh: connect to host cmp-08 port 22: \x1b]0;owned\x07No route to host

    Left where they are, as the plan has it:
      cmp-08  left-by-plan
        server  gpu (77777777-aaaa-4bbb-8ccc-dddddddddddd)
        what    left in place by drain.servers[1]

    To see to:
      cmp-08  host-disabled
        what    still out of service
        to do   resume the run, or `furlough enable`
      cmp-08  server-state
        server  ビルド-\x1b[31mold (c0ffee00-1234-4bcd-8e9f-0123456789ab)
        what    SHUTOFF, and it was ACTIVE
        to do   resume the run, or start it once the host is up
      cmp-08  step-failed
        what    `ssh cmp-08 'sudo systemctl reboot'` exited with 255
        to do   see to the host, then resume the run

    To go on:  furlough resume 20261123-1642-9f2c
    Exit code 1:  something failed or its outcome is unknown; all of it is named above
    "#);
}

#[test]
fn a_short_report_has_no_servers() {
    let text = report(&run(), &Tally::of(&night()), Detail::Short, PLAIN);
    assert!(!text.contains("HOST BEFORE") && text.contains("Servers  2 moved cold"), "{text}");
}

#[test]
fn every_ending_says_its_exit_code_and_how_to_go_on() {
    for ending in [Ending::Done, Ending::Failed, Ending::Interrupted, Ending::Paused, Ending::RolledBack] {
        let mut night = Night::default();
        night.push(0, started()).push(5, ended(ending));
        let text = report(&run(), &Tally::of(&night.events), Detail::Short, PLAIN);
        assert!(text.contains(&format!("Exit code {}:", ending.exit_code())), "{text}");
        let over = matches!(ending, Ending::Done | Ending::RolledBack);
        assert_eq!(text.contains("furlough resume 20261123-1642-9f2c"), !over, "{text}");
    }
}

#[test]
fn status_says_what_is_under_way() {
    let tally = Tally::of(&night()[..16]);
    insta::assert_snapshot!(status(&run(), &tally, Some(true), at(120), PLAIN), @r#"
    Run 20261123-1642-9f2c  under way
    plan kernel-reboot on cloud prod, graph 5e1f0c2a9b3d4e6f, furlough 0.1.0
    2026-11-23 16:42:07 UTC to 2026-11-23 16:44:07 UTC (2 min)
    last event 21 s ago

    Wave     1 of 2
    Hosts    2: 1 waiting, 1 draining
    Servers  1 moved cold, 1 left by the plan, 1 in flight, 1 not begun
    Steps    3 of 16 done, 1 running, 12 waiting

    HOST    UNDER WAY         METHOD  TO   FOR
    cmp-07  db-1 (1b6d2f40…)  cold        21 s
    "#);
}

#[test]
fn a_run_whose_process_died_says_how_to_go_on() {
    let text = status(&run(), &Tally::of(&night()[..16]), Some(false), at(4_000), PLAIN);
    assert!(text.starts_with("Run 20261123-1642-9f2c  has no process: it ended without a word\n"), "{text}");
    assert!(text.ends_with("To go on:  furlough resume 20261123-1642-9f2c\n"), "{text}");
}

#[test]
fn a_journal_without_a_beginning_is_no_reason_to_fail() {
    let text = report(&run(), &Tally::default(), Detail::Full, PLAIN);
    insta::assert_snapshot!(text, @r#"
    Run 20261123-1642-9f2c  has not ended
    Its first event is missing: what it was to do is not known.

    Servers  none

    To go on:  furlough resume 20261123-1642-9f2c
    "#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_run_is_shown_safely_and_within_the_width(events in any_events(), columns in 60..140_u16) {
        let tally = Tally::of(&events);
        let style = Style { color: false, width: columns };
        let color = Style { color: true, ..style };
        let report_text = report(&run(), &tally, Detail::Full, style);
        let status_text = status(&run(), &tally, None, at(10), style);
        for text in [&report_text, &status_text] {
            prop_assert!(is_harmless(text));
            for line in text.lines() {
                prop_assert!(width(line) <= usize::from(columns), "{line:?}");
            }
        }
        prop_assert_eq!(without_color(&report(&run(), &tally, Detail::Full, color)), report_text);
        prop_assert_eq!(without_color(&status(&run(), &tally, None, at(10), color)), status_text);
    }
}
