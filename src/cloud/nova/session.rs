//! One token for all requests: fetched once, renewed once, however many requests need it at that moment.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use crate::cloud::CloudError;

/// A token with less life than this is not used any more: the service would check it later than we did.
/// (keystoneauth1 `identity/base.py` has 120 s.)
pub(super) const LIFE_MIN: Duration = Duration::from_secs(120);
/// Nova goes on using the caller's token for the whole of a move, and a token that ends during it makes the cleanup
/// fail (doc/configuration/service-user-token). A quarter of the hour that a token usually lives covers most moves.
pub(super) const LIFE_FOR_A_MOVE: Duration = Duration::from_secs(15 * 60);
/// How long a refusal of the credentials is remembered, so that requests waiting for the same token do not each try
/// the wrong password: Keystone locks the user out after a few (`lockout_failure_attempts`).
const REFUSAL_REMEMBERED: Duration = Duration::from_secs(10);

/// A token and where it may be used.
pub(super) struct Session {
    /// Marked sensitive, so that no HTTP library prints it.
    pub token: HeaderValue,
    /// The compute endpoint, with `v2.1` and perhaps a project id.
    pub compute: Url,
    /// Counts up with every token.
    pub generation: u64,
    born: Instant,
    life: Option<Duration>,
    renewable: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("generation", &self.generation)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// What an authentication brought.
pub(super) struct Fresh {
    pub token: HeaderValue,
    pub compute: Url,
    pub life: Option<Duration>,
    pub renewable: bool,
    /// The cloud's clock.
    pub at: Timestamp,
}

impl Session {
    /// At most half of a token's life is asked for: with tokens that live shorter than a move, more would mean a new
    /// token before every request, and no more safety.
    fn is_good_for(&self, need: Duration) -> bool {
        let Some(life) = self.life.filter(|_| self.renewable) else { return true };
        life.saturating_sub(self.born.elapsed()) >= need.min(life / 2)
    }
}

/// Holds the current session; the lock is held while authenticating, so that everybody else waits for that one.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Session>>,
    generation: u64,
    refused: Option<(Instant, CloudError)>,
}

impl Sessions {
    /// The session in use, or a new one if there is none, it ends too soon, or it is the one that was `rejected`.
    pub(super) async fn get<F>(
        &self,
        need: Duration,
        rejected: Option<u64>,
        authenticate: F,
    ) -> Result<Arc<Session>, CloudError>
    where
        F: AsyncFnOnce() -> Result<Fresh, CloudError>,
    {
        let mut state = self.0.lock().await;
        if let Some(session) = &state.current
            && session.is_good_for(need)
            && rejected.is_none_or(|generation| session.generation > generation)
        {
            return Ok(Arc::clone(session));
        }
        if let Some((when, error)) = &state.refused
            && when.elapsed() < REFUSAL_REMEMBERED
        {
            return Err(error.clone());
        }
        // The life of a token counts from before the request for it, so that it is never thought longer than it is.
        let born = Instant::now();
        match authenticate().await {
            Ok(fresh) => {
                state.generation += 1;
                let session = Arc::new(Session {
                    token: fresh.token,
                    compute: fresh.compute,
                    generation: state.generation,
                    born,
                    life: fresh.life,
                    renewable: fresh.renewable,
                });
                tracing::debug!(generation = session.generation, life = ?session.life, at = %fresh.at, "new token");
                state.current = Some(Arc::clone(&session));
                state.refused = None;
                Ok(session)
            }
            Err(error) => {
                if matches!(error.kind, crate::cloud::CloudErrorKind::Unauthenticated { .. }) {
                    state.refused = Some((Instant::now(), error.clone()));
                }
                Err(error)
            }
        }
    }
}
