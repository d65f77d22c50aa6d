// The operator's figures. The browser has the password already: it asked for it before it showed this page.

const byId = (id) => document.getElementById(id);

function row(name, ...figures) {
  const made = document.createElement("tr");
  const heading = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  const cells = figures.map((figure) => Object.assign(document.createElement("td"), { textContent: figure }));
  made.append(heading, ...cells);
  return made;
}

/** The time of day in UTC, as days are counted. */
const timeOfDay = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 16);

async function show() {
  byId("again").disabled = true;
  try {
    const response = await fetch("/admin", { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(30_000) });
    const figures = await response.json();
    if (!response.ok) throw new Error(figures.detail);
    const { communities, refused, omitted, serverTime } = figures;
    byId("communities").replaceChildren(
      ...communities.map(({ name, live = "–", households = "–", sites = "–", providers = "–" }) =>
        row(name, live, households, sites, providers),
      ),
    );
    byId("activity").replaceChildren(
      ...communities.map(({ name, activity = {} }) => {
        const { sockets = "–", bound = "–", streams = "–", frames = "–", rows = "–", alarms = "–", since } = activity;
        return row(name, sockets, bound, streams, frames, rows, alarms, since === undefined ? "–" : timeOfDay(since));
      }),
    );
    const codes = Object.entries(refused).sort(([, one], [, other]) => other - one);
    byId("refused").replaceChildren(...codes.map(([code, count]) => row(code, count)));
    byId("no-refused").hidden = codes.length > 0;
    byId("omitted").hidden = omitted === 0;
    byId("omitted").textContent = `${omitted} more are not shown.`;
    byId("taken").textContent = `As of ${new Date(serverTime).toLocaleTimeString()}.`;
    byId("problem").hidden = true;
  } catch (error) {
    byId("problem").textContent = `There are no figures: ${error.message}.`;
    byId("problem").hidden = false;
    byId("taken").textContent = "";
  }
  byId("again").disabled = false;
}

byId("again").addEventListener("click", show);
show();
