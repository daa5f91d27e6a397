use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::view::fixture::{any_events, is_harmless, night, progress};

fn line(update: &Update) -> String {
    let mut view = Ndjson::new(Vec::new());
    view.update(update).unwrap();
    view.finish().unwrap();
    String::from_utf8(view.into_inner()).unwrap()
}

#[test]
fn lines_say_what_they_are() {
    insta::assert_snapshot!(line(&Update::Event(night().swap_remove(1))), @r#"{"v":1,"type":"event","event":{"seq":2,"at":"2026-11-23T16:42:08Z","kind":{"step_started":{"step":"cmp-07/disable","attempt":1,"rung":null}}}}"#);
    insta::assert_snapshot!(line(&Update::Progress(progress(512))), @r#"{"v":1,"type":"progress","progress":{"step":"cmp-07/move/9f2c1a07-5d0e-4a53-8b1c-0c9a4b1f6a11","server":"9f2c1a07-5d0e-4a53-8b1c-0c9a4b1f6a11","server_name":"web-3","status":"running","memory_total_bytes":8589934592,"memory_remaining_bytes":536870912,"disk_total_bytes":null,"disk_remaining_bytes":null}}"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn events_can_be_read_back(events in any_events()) {
        for event in events {
            let text = line(&Update::Event(event.clone()));
            prop_assert!(is_harmless(&text) && text.trim_end().lines().count() == 1);
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!((&value["v"], &value["type"]), (&1.into(), &"event".into()));
            prop_assert_eq!(serde_json::from_value::<Event>(value["event"].take()).unwrap(), event);
        }
    }
}
