//! Figures, their references, and how they are shown.

use serde::Serialize;

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aim {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// Several measurements of the same thing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Samples {
    /// The middle one.
    pub(crate) median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Samples {
    /// Sums up measurements; none for no measurement.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) {
            let lower = *values.get(middle.checked_sub(1)?)?;
            f64::midpoint(lower, upper)
        } else {
            upper
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
            runs: values.len(),
        })
    }
}

/// The same figure of something else, measured in the same run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reference {
    name: String,
    samples: Samples,
    /// Ours divided by this.
    ratio: Option<f64>,
}

/// One measured quantity.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    group: &'static str,
    name: String,
    unit: &'static str,
    samples: Option<Samples>,
    aim: Option<Aim>,
    /// Whether the median keeps the aim.
    kept: Option<bool>,
    references: Vec<Reference>,
}

impl Figure {
    /// A figure of ours.
    pub(crate) fn new(
        group: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
    ) -> Self {
        Self {
            group,
            name: name.into(),
            unit,
            samples: Samples::of(values),
            aim: None,
            kept: None,
            references: Vec::new(),
        }
    }

    /// Sets what it should be.
    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.kept = self.samples.as_ref().map(|samples| match aim {
            Aim::AtMost(limit) => samples.median <= limit,
            Aim::AtLeast(limit) => samples.median >= limit,
        });
        self.aim = Some(aim);
        self
    }

    /// Adds a reference.
    pub(crate) fn beside(mut self, name: &str, values: Vec<f64>) -> Self {
        if let Some(samples) = Samples::of(values) {
            let own = self.samples.as_ref().map(|own| own.median);
            let ratio = own
                .filter(|_| samples.median > 0.0)
                .map(|own| own / samples.median);
            self.references.push(Reference {
                name: name.into(),
                samples,
                ratio,
            });
        }
        self
    }

    fn cells(&self) -> [String; 5] {
        let own = self.samples.as_ref();
        let spread = own.map_or_else(String::new, |own| {
            format!("{}–{}", short(own.min), short(own.max))
        });
        let aim = match (self.aim, self.kept) {
            (None, _) => String::new(),
            (Some(aim), kept) => {
                let mark = match kept {
                    Some(true) => " ✓",
                    Some(false) => " ✗",
                    None => "",
                };
                let (sign, limit) = match aim {
                    Aim::AtMost(limit) => ('≤', limit),
                    Aim::AtLeast(limit) => ('≥', limit),
                };
                format!("{sign} {}{mark}", short(limit))
            }
        };
        let references = self.references.iter().map(|reference| {
            let Reference {
                name,
                samples,
                ratio,
            } = reference;
            let ratio = ratio.map_or_else(String::new, |ratio| format!(" (×{ratio:.2})"));
            format!("{name} {}{ratio}", short(samples.median))
        });
        [
            format!("{}, {}", self.name, self.unit),
            own.map_or_else(|| "–".into(), |own| short(own.median)),
            spread,
            aim,
            references.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// The figures as a table: median, spread, aim, and references with the ratio
/// of ours to them.
pub(crate) fn table(figures: &[Figure]) -> String {
    let heads = ["", "median", "spread", "aim", "beside (× ours / it)"].map(str::to_owned);
    let rows: Vec<_> = figures
        .iter()
        .map(|figure| (figure.group, figure.cells()))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|(_, cells)| cells).chain([&heads]);
        let lengths = cells
            .filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count());
        lengths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String; 5]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                1 => format!("{cell:>width$}"),
                _ => format!("{cell:width$}"),
            });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&heads);
    let mut group = "";
    for (own_group, cells) in &rows {
        if *own_group != group {
            group = own_group;
            text.push_str(&format!("{group}\n"));
        }
        text.push_str(&line(cells));
    }
    text
}

/// Three significant digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Samples::of(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Samples::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert!(Samples::of(Vec::new()).is_none());
    }

    #[test]
    fn aims_and_ratios_are_of_the_median() {
        let figure = Figure::new("g", "n", "s", vec![2.0, 9.0, 3.0]);
        let figure = figure.aim(Aim::AtMost(3.0)).beside("other", vec![6.0]);
        assert_eq!(figure.kept, Some(true));
        assert_eq!(figure.references[0].ratio, Some(0.5));
        let text = table(&[figure.clone(), figure]);
        assert_eq!(text.matches("≤ 3.00 ✓").count(), 2);
        assert!(text.contains("other 6.00 (×0.50)"), "{text}");
        assert_eq!(text.lines().filter(|line| *line == "g").count(), 1);
    }

    #[test]
    fn what_is_not_measured_is_neither_kept_nor_missed() {
        let figure = Figure::new("g", "n", "s", Vec::new()).aim(Aim::AtLeast(1.0));
        assert_eq!(figure.kept, None);
        assert!(table(&[figure]).contains('–'));
    }
}
