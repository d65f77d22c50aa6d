//! What chance alone would do: exact distributions, to compare means with.

use std::fmt::Write as _;

/// How many of `drawn` are marked, drawn without putting back from `population`, of which `marked` are.
#[derive(Clone, Copy)]
pub(crate) struct Hypergeometric {
    pub(crate) population: u32,
    pub(crate) marked: u32,
    pub(crate) drawn: u32,
}

impl Hypergeometric {
    pub(crate) fn mean(self) -> f64 {
        f64::from(self.drawn) * f64::from(self.marked) / f64::from(self.population)
    }

    pub(crate) fn variance(self) -> f64 {
        let marked = f64::from(self.marked) / f64::from(self.population);
        let correction = f64::from(self.population - self.drawn) / f64::from((self.population - 1).max(1));
        f64::from(self.drawn) * marked * (1.0 - marked) * correction
    }

    /// Returns the chance that exactly `hits` are marked.
    pub(crate) fn chance(self, hits: u32) -> f64 {
        let Self { population, marked, drawn } = self;
        if hits > marked || hits > drawn || drawn - hits > population - marked {
            return 0.0;
        }
        (ln_choose(marked, hits) + ln_choose(population - marked, drawn - hits) - ln_choose(population, drawn)).exp()
    }

    /// Returns the chances of each number of hits.
    pub(crate) fn chances(self) -> impl Iterator<Item = (u32, f64)> {
        (0..=self.drawn.min(self.marked)).map(move |hits| (hits, self.chance(hits)))
    }

    /// Returns the variance of the squared distance from the mean: what the variance of a sample depends on.
    pub(crate) fn variance_of_square(self) -> f64 {
        let fourth: f64 = self.chances().map(|(hits, chance)| (f64::from(hits) - self.mean()).powi(4) * chance).sum();
        fourth - self.variance().powi(2)
    }
}

fn ln_choose(of: u32, chosen: u32) -> f64 {
    (1..=chosen).map(|number| (f64::from(of - chosen + number) / f64::from(number)).ln()).sum()
}

/// Returns the chances of how many of `cells` are hit by `balls` thrown at random, the chance of none first.
pub(crate) fn occupancy(cells: u32, balls: u32) -> Vec<f64> {
    let mut chances = vec![0.0; cells as usize + 1];
    chances[0] = 1.0;
    for _ in 0..balls {
        let before = chances.clone();
        for (hit, chance) in (0_u32..).zip(&mut chances) {
            let from_fewer = (hit as usize).checked_sub(1).map_or(0.0, |fewer| before[fewer]);
            let missed = f64::from(cells + 1 - hit.max(1)) / f64::from(cells);
            *chance = before[hit as usize] * f64::from(hit) / f64::from(cells)
                + if hit == 0 { 0.0 } else { from_fewer * missed };
        }
    }
    chances
}

/// Returns the mean and the variance of a number with these chances, that of zero first.
pub(crate) fn moments(chances: &[f64]) -> (f64, f64) {
    let moment = |power: i32| -> f64 {
        (0_u32..).zip(chances).map(|(value, chance)| f64::from(value).powi(power) * chance).sum()
    };
    (moment(1), moment(2) - moment(1).powi(2))
}

/// The mean of what is counted, one at a time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    pub(crate) fn value(self) -> f64 {
        if self.count == 0.0 { f64::NAN } else { self.sum / self.count }
    }

    /// Asserts that the mean of these independent numbers is within three standard deviations of `expected`.
    pub(crate) fn assert_near(self, what: &str, expected: f64, variance: f64) {
        let deviation = (variance / self.count).sqrt();
        let off = (self.value() - expected).abs();
        let mean = self.value();
        assert!(off <= 3.0 * deviation + 1e-9, "{what}: {mean:.4} and not {expected:.4} ± {:.4}", 3.0 * deviation);
    }
}

impl FromIterator<f64> for Mean {
    fn from_iter<Values: IntoIterator<Item = f64>>(values: Values) -> Self {
        let mut mean = Self::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean
    }
}

/// Returns a number as a float. Nothing here is counted beyond what one holds.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) const fn float(count: usize) -> f64 {
    count as f64
}

/// A table in Markdown, printed in one go.
pub(crate) struct Table(String);

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.row(columns.iter().copied());
        let rule = columns.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
        table.row(rule);
        table
    }

    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        for cell in cells {
            write!(self.0, "| {cell} ").unwrap();
        }
        self.0.push_str("|\n");
    }

    /// Prints the table, and asserts that the page of figures has it.
    pub(crate) fn publish(&self) {
        println!("\n{}", self.0);
        assert!(
            include_str!("../../FIGURES.md").contains(&self.0),
            "FIGURES.md has other figures than these:\n{}",
            self.0
        );
    }
}
