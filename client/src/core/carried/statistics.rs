//! What the carrier has carried, for who wants to see it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qvd_carrier::KindStats;
use qvd_net::carrier::{Link, Session};
use tokio::sync::watch;

/// The numbers of the session there is, or of the last one. Its copies are the
/// same.
#[derive(Debug, Clone, Default)]
pub struct CarrierStatistics(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    session: Option<Session>,
    /// When the numbers were told last, and which.
    told: Option<(Instant, Vec<KindStats>)>,
    /// Since when there is no connection.
    away: Away,
}

type Away = Arc<Mutex<Option<Instant>>>;

impl CarrierStatistics {
    /// These are the session's from now on.
    pub(super) fn follow(&self, session: &Session) {
        let away = Away::default();
        tokio::spawn(watch(session.link(), Arc::clone(&away)));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known {
            session: Some(session.clone()),
            told: Some((Instant::now(), Vec::new())),
            away,
        };
    }

    /// The numbers, and speeds since they were asked for last; `None` where no
    /// carrier was spoken.
    #[must_use]
    pub fn tell(&self) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stats, kinds) = known.session.as_ref()?.stats();
        let now = Instant::now();
        let (since, before) = known
            .told
            .replace((now, kinds.clone()))
            .unwrap_or((now, Vec::new()));
        let lasted = now.saturating_duration_since(since);
        let away = *known.away.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = "carrier: ".to_owned();
        if let Some(since) = away {
            let seconds = now.saturating_duration_since(since).as_secs();
            text.push_str(&format!("no connection for {seconds} s, "));
        }
        text.push_str(&match stats.round_trip {
            Some(time) => format!("round trip {:.1} ms", time.as_secs_f64() * 1000.0),
            None => "no round trip yet".to_owned(),
        });
        text.push_str(&format!(
            ", resumed {} times, {} bytes unacknowledged\n",
            stats.resumes, stats.unacknowledged
        ));
        for kind in kinds {
            let earlier = before.iter().find(|earlier| earlier.kind == kind.kind);
            text.push_str(&Line(kind, earlier.copied(), lasted).to_string());
        }
        Some(text)
    }
}

/// Keeps since when there is no connection, until the session is over.
async fn watch(mut link: watch::Receiver<Link>, away: Away) {
    loop {
        let now = *link.borrow_and_update();
        // Before the first one nothing was lost, and nothing comes after the end.
        let is_away = !now.up && now.times > 0 && !now.over;
        {
            let mut since = away.lock().unwrap_or_else(PoisonError::into_inner);
            *since = is_away.then(|| since.unwrap_or_else(Instant::now));
        }
        if now.over || link.changed().await.is_err() {
            return;
        }
    }
}

struct Line(KindStats, Option<KindStats>, Duration);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(now, before, lasted) = self;
        let sent = now.sent - before.map_or(0, |before| before.sent);
        let received = now.received - before.map_or(0, |before| before.received);
        writeln!(
            f,
            "stream {}: {} bytes from the VM ({}), {} to it ({}); {} of {} open",
            now.kind.name(),
            now.received,
            Speed(received, *lasted),
            now.sent,
            Speed(sent, *lasted),
            now.open,
            now.streams,
        )
    }
}

/// Bytes in a time.
struct Speed(u64, Duration);

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.1.as_millis()).unwrap_or(u64::MAX).max(1);
        write!(f, "{} kB/s", self.0 / millis)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use qvd_carrier::{Config, Kind, Role};

    use super::*;

    #[tokio::test]
    async fn an_outage_is_told_until_it_is_over() {
        let (link, seen) = watch::channel(Link::default());
        let away = Away::default();
        let mut watching = pin!(watch(seen, Arc::clone(&away)));
        let mut since = async |up, times, over| {
            link.send_replace(Link { up, times, over });
            tokio::select! {
                biased;
                () = &mut watching => {}
                () = std::future::ready(()) => {}
            }
            *away.lock().unwrap()
        };
        assert_eq!(since(false, 0, false).await, None);
        assert_eq!(since(true, 1, false).await, None);
        let begin = since(false, 1, false).await;
        assert!(begin.is_some());
        assert_eq!(since(false, 1, false).await, begin);
        assert_eq!(since(true, 2, false).await, None);
        assert!(since(false, 2, false).await.is_some());
        assert_eq!(since(false, 2, true).await, None);
    }

    #[tokio::test]
    async fn there_are_numbers_once_there_is_a_session() {
        let statistics = CarrierStatistics::default();
        assert_eq!(statistics.tell(), None);
        let session = Session::new(Role::Client, Config::default());
        let _nx = session.open(Kind::Nx, b"").unwrap();
        statistics.follow(&session);
        let text = statistics.tell().unwrap();
        assert!(!text.contains("no connection"), "{text}");
        assert!(text.contains("resumed 0 times"), "{text}");
        assert!(
            text.contains("stream nx: 0 bytes from the VM (0 kB/s)"),
            "{text}"
        );
    }
}
