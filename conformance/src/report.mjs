// What a run says: as text for people, as JSON, or as JUnit's XML.

import { attacksIn, sectionOf } from "./suite.mjs";

const count = (results, outcome) => results.filter((result) => result.outcome === outcome).length;

/** @param {import("./suite.mjs").Result[]} results */
export function summary(results) {
  return { passed: count(results, "pass"), failed: count(results, "fail"), skipped: count(results, "skip") };
}

/**
 * @param {import("./suite.mjs").Result[]} results
 * @param {{ target: string, isVerbose?: boolean }} options
 */
export function text(results, { target, isVerbose = false }) {
  const lines = [];
  const sections = [...new Set(results.map((result) => sectionOf(result.case)))];
  for (const section of sections) {
    const own = results.filter((result) => sectionOf(result.case) === section);
    const { passed, failed, skipped } = summary(own);
    lines.push(`${section.padEnd(10)} ${passed} passed${failed ? `, ${failed} FAILED` : ""}${skipped ? `, ${skipped} not tried` : ""}`);
    for (const { case: each, outcome, reason } of own) {
      if (outcome === "fail") lines.push(`  FAILED ${each.id} (${placeOf(each)}): ${each.title}`, `         ${indented(reason)}`);
      else if (isVerbose)
        lines.push(`  ${outcome === "pass" ? "passed" : "not tried"} ${each.id}: ${each.title}${reason ? ` (${reason})` : ""}`);
    }
    if (!isVerbose) {
      for (const reason of new Set(own.filter(({ outcome }) => outcome === "skip").map((result) => result.reason)))
        lines.push(`  not tried: ${reason}`);
    }
  }
  const attacks = attacksIn(results).filter(({ outcome }) => outcome !== "not tried" || results.length > 100);
  if (attacks.length > 0) lines.push("", "Attacks:");
  for (const { attack, what, outcome, cases, failed } of attacks) {
    lines.push(`  ${outcome.padEnd(13)} ${attack.padEnd(17)} ${what}${cases ? ` (${cases - failed.length} of ${cases})` : ""}`);
  }
  const { passed, failed, skipped } = summary(results);
  lines.push("", `${target}: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} not tried` : ""}`);
  return `${lines.join("\n")}\n`;
}

const placeOf = ({ spec }) => (/^\d/.test(spec) ? `section ${spec}` : spec);
const indented = (reason = "") => reason.trim().split("\n").slice(0, 12).join("\n         ");

/** @param {import("./suite.mjs").Result[]} results */
export function json(results, { target }) {
  const cases = results.map(({ case: each, outcome, reason, ms }) => {
    const { id, spec, title, level, attack } = each;
    return { id, spec, title, level, attack, outcome, reason, ms };
  });
  return `${JSON.stringify({ target, ...summary(results), attacks: attacksIn(results), cases }, null, 1)}\n`;
}

/** @param {import("./suite.mjs").Result[]} results */
export function junit(results, { target }) {
  const suites = [...new Set(results.map((result) => sectionOf(result.case)))].map((section) => {
    const own = results.filter((result) => sectionOf(result.case) === section);
    const { failed, skipped } = summary(own);
    const cases = own.map(({ case: each, outcome, reason, ms }) => {
      const head = `<testcase classname="${xml(`rendezvous.${section}`)}" name="${xml(`${each.id}: ${each.title}`)}" time="${(ms / 1_000).toFixed(3)}"`;
      if (outcome === "fail") return `${head}><failure message="${xml(reason.split("\n")[0])}">${xml(reason)}</failure></testcase>`;
      return outcome === "skip" ? `${head}><skipped message="${xml(reason)}"/></testcase>` : `${head}/>`;
    });
    return `<testsuite name="${xml(section)}" tests="${own.length}" failures="${failed}" skipped="${skipped}">\n${cases.join("\n")}\n</testsuite>`;
  });
  const { failed } = summary(results);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="${xml(target)}" tests="${results.length}" failures="${failed}">\n${suites.join("\n")}\n</testsuites>\n`;
}

/** Text for XML 1.0, in which most control characters have no spelling. */
function xml(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd]/g, "\ufffd").replace(/[&<>"]/g, (char) => names[char]);
}
