//! Writing to people: standard output that may break off, tables, and lines on standard error.

use crate::error::Error;
use std::io::{self, Write};
use tabwriter::TabWriter;

/// Prints text and a line's end.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Prints text as it is.
pub(crate) fn text(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints `trunkline: …` on standard error.
pub(crate) fn complain(line: &str) {
    // Nobody is left to be told when that fails.
    let _ = writeln!(io::stderr(), "trunkline: {line}");
}

/// Prints `warning: …` on standard error.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "warning: {}", one_line(line));
}

/// The text without line ends, and the kernel's words without Rust's "(os error 2)".
pub(crate) fn one_line(text: &str) -> String {
    let mut line = text.lines().collect::<Vec<_>>().join(" ");
    while let Some(start) = line.find(" (os error ") {
        let Some(length) = line[start..].find(')') else { break };
        line.replace_range(start..=start + length, "");
    }
    line
}

/// Lines, each with its end.
pub(crate) fn one_per_line(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", one_line(line))).collect()
}

/// A table in Docker's layout: columns at least 10 wide, 3 blanks between (docker/cli,
/// cli/command/formatter: `tabwriter.NewWriter(c.Output, 10, 1, 3, ' ', 0)`, whose 10 has the 3 within).
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> Result<String, Error> {
    let mut writer = TabWriter::new(Vec::new()).minwidth(7).padding(3);
    writeln!(writer, "{}", headers.join("\t"))?;
    for row in rows {
        // A cell with a tab or a line's end in it would be more than one.
        let cells: Vec<String> = row.iter().map(|cell| cell.replace(['\t', '\n', '\r'], " ")).collect();
        writeln!(writer, "{}", cells.join("\t"))?;
    }
    let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_layout() {
        let rows = [["7fca4eb8c647", "bridge", "bridge", "local"], ["78b03ee04fc4", "multi-host", "overlay", "swarm"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|r| r.iter().map(|c| (*c).to_owned()).collect()).collect();
        // As docker's documentation of `network ls` shows it.
        assert_eq!(
            table(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"], &rows).unwrap(),
            "NETWORK ID     NAME         DRIVER    SCOPE\n\
             7fca4eb8c647   bridge       bridge    local\n\
             78b03ee04fc4   multi-host   overlay   swarm\n"
        );
    }

    #[test]
    fn lines() {
        assert_eq!(one_line("a: No such file (os error 2); b (os error 13)\nc"), "a: No such file; b c");
        assert_eq!(table(&["A"], &[vec!["x\ty\nz".into()]]).unwrap(), "A\nx y z\n");
    }
}
