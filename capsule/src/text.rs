//! How times, counts, tables and what strangers wrote are shown to people.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::time::{Duration, UNIX_EPOCH};

pub use rendezvous_protocol::safe_text::printable;
use rendezvous_protocol::time::{DAY_SECONDS, UnixMillis};
use unicode_width::UnicodeWidthStr as _;

/// The first second of the year 10000, from which on dates have no agreed form.
const YEAR_10000_SECONDS: u64 = 253_402_300_800;

/// A date and time in UTC.
pub fn date(time: UnixMillis) -> String {
    let seconds = time.as_u64() / 1000;
    if seconds >= YEAR_10000_SECONDS {
        return format!("{time} ms after 1970");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// How far away `time` is, in whole seconds.
pub fn distance(time: UnixMillis, now: UnixMillis) -> String {
    if time > now { format!("in {}", duration(time.since(now))) } else { format!("{} ago", duration(now.since(time))) }
}

/// A duration in whole seconds; in milliseconds where it is shorter than one.
pub fn duration(duration: Duration) -> String {
    let rounded = match duration.as_secs() {
        0 => Duration::from_millis(u64::from(duration.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    in_days(rounded)
}

/// A duration as an argument takes it, without spaces: `1h30m`. Rounded up to whole seconds, so that a limit that is
/// shown is one that holds.
pub fn compact(duration: Duration) -> String {
    let up = u64::from(duration.subsec_nanos() > 0);
    in_days(Duration::from_secs(duration.as_secs().saturating_add(up))).replace(' ', "")
}

/// With days as the largest unit: a year of 365 days is not a whole number of any larger one.
fn in_days(duration: Duration) -> String {
    let days = duration.as_secs() / DAY_SECONDS;
    let rest = duration.saturating_sub(Duration::from_secs(days * DAY_SECONDS));
    match (days, rest.is_zero()) {
        (0, _) => humantime::format_duration(rest).to_string(),
        (1, true) => "1day".to_owned(),
        (_, true) => format!("{days}days"),
        (1, false) => format!("1day {}", humantime::format_duration(rest)),
        (_, false) => format!("{days}days {}", humantime::format_duration(rest)),
    }
}

/// `one` or `many`, after the number.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Counts by code: `2 EXPIRED, 1 MALFORMED`.
pub fn counts(counts: &BTreeMap<&'static str, usize>) -> String {
    let parts: Vec<_> = counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
    parts.join(", ")
}

/// The beginning of what a stranger wrote, as [`printable`] shows it: a cell of a table.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        None => printable(text),
        Some((end, _)) => text.get(..end).map(printable).unwrap_or_default() + "…",
    }
}

/// Lines whose cells stand below one another, two spaces apart.
pub fn table<Row: AsRef<[String]>>(rows: &[Row]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            let width = cell.width();
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.as_ref().iter().zip(&widths);
        let padded = |(cell, width): (&String, &usize)| cell.clone() + &" ".repeat(width.saturating_sub(cell.width()));
        let line: Vec<_> = cells.map(padded).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Lines of a name and what goes with it, the latter below one another.
pub fn fields(fields: &[(&str, &dyn Display)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_the_wire_has_a_text() {
        assert_eq!(date(UnixMillis::saturating(1_700_000_000_999)), "2023-11-14T22:13:20Z");
        assert_eq!(date(UnixMillis::saturating(YEAR_10000_SECONDS * 1000 - 1)), "9999-12-31T23:59:59Z");
        assert_eq!(date(UnixMillis::MAX), "9007199254740991 ms after 1970");
        let [earlier, later] = [1_000, 91_500].map(UnixMillis::saturating);
        assert_eq!(distance(later, earlier), "in 1m 30s");
        assert_eq!(distance(earlier, later), "1m 30s ago");
        assert_eq!(distance(later, later), "0s ago");
        assert_eq!(duration(Duration::from_micros(12_900)), "12ms");
        assert_eq!(compact(Duration::from_millis(5_399_001)), "1h30m");
        let days = |days: u64, seconds: u64| duration(Duration::from_secs(days * 86_400 + seconds));
        assert_eq!(
            [days(1, 0), days(1, 60), days(365, 0), days(30, 3_600)],
            ["1day", "1day 1m", "365days", "30days 1h"]
        );
        assert_eq!(humantime::parse_duration("1day1h30m1s"), Ok(Duration::from_secs(91_801)));
    }

    #[test]
    fn a_long_text_is_cut_and_what_is_left_escaped() {
        assert_eq!(shortened(&"é".repeat(40)), "é".repeat(40));
        assert_eq!(shortened(&format!("\u{1b}{}", "é".repeat(40))), format!("\\u{{1b}}{}…", "é".repeat(39)));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["A", "B", "C"]), row(["né", "", "1"]), row(["longer", "x", ""])];
        assert_eq!(table(&rows), "A       B  C\nné         1\nlonger  x\n");
        // Terminals show these in two columns each.
        let rows = [row(["名前", "x", ""]), row(["abc", "y", ""])];
        assert_eq!(table(&rows), "名前  x\nabc   y\n");
    }
}
