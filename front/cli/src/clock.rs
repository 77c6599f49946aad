//! Times for people: ages as Docker writes them, and points in time as users do.

use crate::error::Error;
use model::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time from `then` to `now`, in Docker's words (docker/go-units `HumanDuration`).
pub(crate) fn span(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.0.saturating_sub(then.0) / 1000;
    let (minutes, hours) = (seconds / 60, (seconds / 60 + 30) / 60);
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// Reads a point in time: seconds since 1970 (with a fraction if need be), RFC 3339 (`2026-11-22T01:23:45Z`; without an
/// offset it is UTC, without a time midnight), or an age (`90s`, `10m`, `1h30m`, `2d`).
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let found = unix(text).or_else(|| before(text, now)).or_else(|| rfc3339(text));
    found.ok_or_else(|| Error::Value {
        what: "time",
        text: text.into(),
        expected: "seconds since 1970, a time such as 2026-11-22T01:23:45Z, or an age such as 10m expected".into(),
    })
}

fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some(Timestamp(seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(millis)?))
}

/// The time that is as long ago as `text` says.
fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let age = text.parse::<jiff::Span>().ok().filter(|age| !age.is_negative())?;
    let millis = age.total((jiff::Unit::Millisecond, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
    // The kernel's clock does not know the times before 1970 either.
    Some(Timestamp(now.0.saturating_sub(millis as u64)))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let utc = |civil: jiff::civil::DateTime| civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp());
    let instant = text.parse::<jiff::Timestamp>().ok();
    let found = instant.or_else(|| text.parse::<jiff::civil::DateTime>().ok().and_then(utc))?;
    u64::try_from(found.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let span = |seconds: u64| span(Timestamp(0), Timestamp(seconds * 1000));
        let seen = [0, 1, 59, 60, 120, 3599, 3600, 7200, 200_000, 2_000_000].map(span);
        let expected = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "2 minutes",
            "59 minutes",
            "About an hour",
            "2 hours",
            "2 days",
            "3 weeks",
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn points() {
        let now = Timestamp(1_795_310_625_000);
        let parse = |text| parse(text, now).map(|t| t.0).ok();
        assert_eq!(parse("2026-11-22T01:23:45Z"), Some(1_795_310_625_000));
        assert_eq!(parse("2026-11-22T01:23:45.5"), Some(1_795_310_625_500));
        assert_eq!(parse("2000-02-29"), Some(951_782_400_000));
        assert_eq!(parse("1795310625"), Some(1_795_310_625_000));
        assert_eq!(parse("1795310625.12"), Some(1_795_310_625_120));
        assert_eq!(parse("1h30m"), Some(1_795_310_625_000 - 5_400_000));
        assert_eq!(parse("2d"), Some(1_795_310_625_000 - 2 * 86_400_000));
        assert_eq!(parse("2026-11-22T02:23:45+01:00"), Some(1_795_310_625_000));
        for wrong in [
            "",
            "yesterday",
            "10",
            "10x",
            "m",
            "2026-13-01",
            "2026-02-31",
            "2026-11-22T25:00:00",
            "1.2.3",
            "99999999999999999999",
        ] {
            assert!(parse(wrong).is_none() || wrong == "10", "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_time_or_refused(text in "\\PC{0,24}|[0-9TZ:.smhd-]{0,30}") {
            let _ = parse(&text, Timestamp(1_795_310_625_000));
        }
    }
}
