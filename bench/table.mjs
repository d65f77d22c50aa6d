// The one table.

/** Columns that are read from the right. */
const NUMBERS = new Set([1, 2, 3]);

/**
 * @param {import("./bench.mjs").Row[]} rows
 * @param {Record<string, string>} machine
 * @param {string[]} how
 */
export function print(rows, machine, how) {
  const cells = [
    ["row", "this project", "baseline", "ratio", "to reach", "", "ratios of the turns"],
    ...rows.map((row) => [
      row.baselineName ? `${row.row} (baseline: ${row.baselineName})` : row.row,
      row.subject === undefined ? "" : `${number(row.subject)} ${row.unit}`,
      row.baseline === undefined ? "" : `${number(row.baseline)} ${row.unit}`,
      row.ratio === undefined ? "" : row.ratio.toFixed(2),
      goalText(row),
      verdict(row),
      spreadText(row),
    ]),
  ];
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const align = (cell, column) => (NUMBERS.has(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]));
  const line = (row) => `| ${row.map(align).join(" | ")} |`;
  const rule = widths.map((width, column) => (NUMBERS.has(column) ? `${"-".repeat(width + 1)}:` : "-".repeat(width + 2)));
  console.log();
  console.log(line(cells[0]));
  console.log(`|${rule.join("|")}|`);
  for (const row of cells.slice(1)) console.log(line(row));
  console.log(`\n${Object.entries(machine).map(([name, value]) => `${name} ${value}`).join("; ")}; ${how.join("; ")}`);
}

/** @param {number} value */
function number(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3);
}

/** @param {import("./bench.mjs").Row} row */
function goalText({ goal = {}, unit }) {
  if (goal.atLeast !== undefined) return `at least ${goal.atLeast.toFixed(2)}`;
  if (goal.atMost !== undefined) return `at most ${goal.atMost.toFixed(2)}`;
  if (goal.valueAtLeast !== undefined) return `at least ${number(goal.valueAtLeast)} ${unit}`;
  if (goal.valueAtMost !== undefined) return `at most ${number(goal.valueAtMost)} ${unit}`;
  return "";
}

/** @param {import("./bench.mjs").Row} row */
function spreadText({ spread }) {
  if (spread === undefined || spread[0] === spread[1]) return "";
  return spread.map((ratio) => ratio.toFixed(2)).join(" to ");
}

/** @param {import("./bench.mjs").Row} row */
function verdict({ goal, ratio, subject }) {
  if (goal === undefined) return "";
  const { atLeast = 0, atMost = Infinity, valueAtLeast = 0, valueAtMost = Infinity } = goal;
  const reached = (ratio ?? 1) >= atLeast && (ratio ?? 0) <= atMost && subject >= valueAtLeast && subject <= valueAtMost;
  return reached ? "reached" : "MISSED";
}
