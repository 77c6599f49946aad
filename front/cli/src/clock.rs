//! Times for people: ages as Docker writes them, and points in time as users do.

use crate::error::Error;
use model::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// Reads a point in time: seconds since 1970 (with a fraction if need be), RFC 3339 in UTC
/// (`2026-11-22T01:23:45Z`), or an age (`90s`, `10m`, `1h30m`).
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let found = unix(text).or_else(|| age(text).map(|age| before(now, age))).or_else(|| rfc3339(text));
    found.ok_or_else(|| Error::Value {
        what: "time",
        text: text.into(),
        expected: "seconds since 1970, a time such as 2026-11-22T01:23:45Z, or an age such as 10m expected".into(),
    })
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
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

fn age(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0u64;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..unit].parse().ok()?;
        let factor = match rest[unit..].chars().next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(factor)?)?;
        rest = &rest[unit + 1..];
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once('T').unwrap_or((text, "0:0:0"));
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let numbers = |t: &str, by: char| t.split(by).map(|n| n.parse().ok()).collect::<Option<Vec<u64>>>();
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let [hour, minute, second] = numbers(time, ':')?.try_into().ok()?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let midnight = days(year, month, day) * 86_400;
    // 31 February would be a day in March.
    if !Timestamp(midnight * 1000).to_string().starts_with(&format!("{year:04}-{month:02}-{day:02}")) {
        return None;
    }
    let seconds = midnight + hour * 3600 + minute * 60 + second;
    unix(&format!("{seconds}.{fraction}"))
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
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
