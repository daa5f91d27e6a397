//! What every journal does, whatever it is kept in. Each function wants a journal that the others have not used.

use super::samples::{begun, ended, event, everything, noted, resumed, run};
use crate::event::{Ending, EventKind};
use crate::journal::{Journal, JournalError};

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn keeps_everything(journal: &dyn Journal) {
    let id = run("20261123-1642-0001");
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    let events = everything();
    journal.append(&id, events[..3].to_vec()).await.unwrap();
    journal.append(&id, vec![]).await.unwrap();
    journal.append(&id, events[3..].to_vec()).await.unwrap();
    assert_eq!(journal.read(&id).await.unwrap(), events);
    assert_eq!(journal.read_after(&id, 0).await.unwrap(), events);
    assert_eq!(journal.read_after(&id, 5).await.unwrap(), events[5..]);
    assert_eq!(journal.read_after(&id, u64::MAX).await.unwrap(), []);
    for result in [journal.read(&run("other")).await, journal.read_after(&run("other"), 9).await] {
        assert!(matches!(result, Err(JournalError::NoSuchRun { run, .. }) if run == "other"));
    }
}

pub async fn refuses_gaps(journal: &dyn Journal) {
    let id = run("r");
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    let refused = |result| match result {
        Err(JournalError::OutOfOrder { last, found, .. }) => (last, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(journal.append(&id, vec![noted(2, "")]).await), (0, 2));
    assert_eq!(refused(journal.append(&id, vec![noted(0, "")]).await), (0, 0));
    let misplaced = journal.append(&id, vec![noted(1, "")]).await;
    assert!(matches!(misplaced, Err(JournalError::Misplaced { seq: 1, .. })), "{misplaced:?}");
    journal.append(&id, vec![begun("p"), noted(2, "")]).await.unwrap();
    assert_eq!(refused(journal.append(&id, vec![noted(2, "again")]).await), (2, 2));
    assert_eq!(refused(journal.append(&id, vec![noted(4, "")]).await), (2, 4));
    // None of a chunk is kept when one of it is refused.
    assert_eq!(refused(journal.append(&id, vec![noted(3, ""), noted(5, "")]).await), (3, 5));
    let second = journal.append(&id, vec![event(3, begun("p").kind)]).await;
    assert!(matches!(second, Err(JournalError::Misplaced { seq: 3, .. })), "{second:?}");
    journal.append(&id, vec![noted(3, "")]).await.unwrap();
    assert_eq!(journal.read(&id).await.unwrap().len(), 3);
}

pub async fn one_has_a_run(journal: &dyn Journal) {
    let id = run("r");
    let refused = journal.append(&id, vec![begun("p")]).await;
    assert!(matches!(refused, Err(JournalError::NotClaimed { .. })), "{refused:?}");
    let claim = journal.claim(&id, "lab", &[]).await.unwrap();
    let second = journal.claim(&id, "lab", &[]).await;
    assert!(matches!(second, Err(JournalError::RunHeld { .. })), "{second:?}");
    journal.append(&id, vec![begun("p")]).await.unwrap();
    assert!(journal.runs().await.unwrap()[0].live);
    drop(claim);
    assert!(!journal.runs().await.unwrap()[0].live);
    let refused = journal.append(&id, vec![noted(2, "")]).await;
    assert!(matches!(refused, Err(JournalError::NotClaimed { .. })), "{refused:?}");
    let _claim = journal.claim(&id, "lab", &[]).await.unwrap();
    journal.append(&id, vec![noted(2, "")]).await.unwrap();
}

pub async fn two_runs_never_hold_one_host(journal: &dyn Journal) {
    let (first, second) = (run("first"), run("second"));
    let claim = journal.claim(&first, "lab", &hosts(&["a", "b"])).await.unwrap();
    journal.append(&first, vec![begun("p")]).await.unwrap();
    let refused = async |names: &[&str]| match journal.claim(&second, "lab", &hosts(names)).await {
        Err(JournalError::HostHeld { host, run, cause, remedy }) => (host, run, cause, remedy),
        other => panic!("{other:?}"),
    };
    let (host, holder, cause, remedy) = refused(&["c", "b"]).await;
    assert_eq!((host.as_str(), holder, cause.as_str()), ("b", first.clone(), "which is under way"));
    assert_eq!(remedy, "`furlough status first` shows it");
    // Another cloud's host of the same name is another host; so is one that nobody has. A refusal leaves no lease.
    drop(journal.claim(&second, "prod", &hosts(&["b"])).await.unwrap());
    drop(journal.claim(&run("third"), "lab", &hosts(&["c"])).await.unwrap());

    // Its process dies: the host stays its own, until it is resumed.
    drop(claim);
    let (_, _, cause, remedy) = refused(&["b"]).await;
    assert_eq!(cause, "whose process died before it ended");
    assert_eq!(remedy, "`furlough resume first` goes on with it");
    let claim = journal.claim(&first, "lab", &hosts(&["a", "b"])).await.unwrap();

    // It gives up one and ends with the other out of service.
    journal.release(&first, "a").await.unwrap();
    journal.release(&first, "never held").await.unwrap();
    journal.release(&second, "b").await.unwrap();
    journal.append(&first, vec![resumed(2), ended(3, Ending::Failed)]).await.unwrap();
    drop(claim);
    assert_eq!(refused(&["b"]).await.2, "which is not finished");
    let claim = journal.claim(&first, "lab", &[]).await.unwrap();
    journal.append(&first, vec![resumed(4), ended(5, Ending::Done)]).await.unwrap();
    drop(claim);
    let (_, _, cause, remedy) = refused(&["b"]).await;
    assert_eq!(cause, "which ended and left it out of service");
    assert_eq!(remedy, "`furlough enable b` puts it back");
    assert_eq!(journal.runs().await.unwrap()[0].hosts, ["b"]);
    journal.release(&first, "b").await.unwrap();
    drop(journal.claim(&second, "lab", &hosts(&["a", "b"])).await.unwrap());
}

pub async fn a_run_that_never_began_holds_nothing(journal: &dyn Journal) {
    let claim = journal.claim(&run("first"), "lab", &hosts(&["a"])).await.unwrap();
    let refused = journal.claim(&run("second"), "lab", &hosts(&["a"])).await;
    assert!(matches!(refused, Err(JournalError::HostHeld { .. })), "{refused:?}");
    drop(claim);
    let _claim = journal.claim(&run("second"), "lab", &hosts(&["a"])).await.unwrap();
    let refused = journal.claim(&run("first"), "lab", &hosts(&["a"])).await;
    assert!(matches!(refused, Err(JournalError::HostHeld { .. })), "{refused:?}");
    assert!(journal.runs().await.unwrap().is_empty());
}

pub async fn summaries_follow_the_events(journal: &dyn Journal) {
    for name in ["b-first", "a-second"] {
        let id = run(name);
        let _claim = journal.claim(&id, "lab", &hosts(&[name])).await.unwrap();
        journal.append(&id, vec![begun(name), noted(2, "")]).await.unwrap();
    }
    let first = run("b-first");
    let of_first = async || journal.runs().await.unwrap().into_iter().find(|summary| summary.id == first).unwrap();
    let summary = of_first().await;
    assert_eq!((summary.plan.as_str(), summary.cloud.as_str(), summary.ending), ("b-first", "lab", None));
    assert_eq!((summary.started_at, summary.updated_at), (begun("").at, noted(2, "").at));
    assert_eq!(summary.hosts, ["b-first"]);
    let _claim = journal.claim(&first, "lab", &[]).await.unwrap();
    for (seq, ending) in
        [Ending::Done, Ending::Failed, Ending::Interrupted, Ending::Paused, Ending::RolledBack].into_iter().enumerate()
    {
        let seq = 3 + 2 * seq as u64;
        journal.append(&first, vec![resumed(seq)]).await.unwrap();
        assert_eq!(of_first().await.ending, None);
        let interrupted = EventKind::Interrupted { by: "SIGTERM".into() };
        assert!(matches!(
            journal.append(&first, vec![event(seq, interrupted)]).await,
            Err(JournalError::OutOfOrder { .. })
        ));
        journal.append(&first, vec![ended(seq + 1, ending)]).await.unwrap();
        assert_eq!(of_first().await.ending, Some(ending));
        assert_eq!(of_first().await.updated_at, ended(seq + 1, ending).at);
    }
    let order: Vec<_> = journal.runs().await.unwrap().into_iter().map(|summary| summary.id.0).collect();
    assert_eq!(order, ["a-second", "b-first"], "newest first, whatever they are called");
}
