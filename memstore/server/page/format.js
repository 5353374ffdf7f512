// Times, numbers and states of a memory as people read them. Times are UTC, as the store has them.

const DAY = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC",
  day: "numeric",
  month: "short",
  year: "numeric",
});
const MONTH = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", month: "long", year: "numeric" });
const YEAR = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC",
  hour: "2-digit",
  minute: "2-digit",
});

export const day = (iso) => DAY.format(new Date(iso));
export const month = (iso) => MONTH.format(new Date(iso));
export const year = (iso) => YEAR.format(new Date(iso));
export const instant = (iso) => `${day(iso)}, ${MINUTE.format(new Date(iso))}`;

/** Returns when a memory happened, as precisely as is known. */
export function happened(memory) {
  if (memory.precision === "unknown") return "nobody knows when";
  if (!memory.occurred_at) return instant(memory.recorded_at);
  return (
    { year, month, day }[memory.precision]?.(memory.occurred_at) ?? instant(memory.occurred_at)
  );
}

/** Returns when a memory begins to hold, in milliseconds. */
export function begins(memory) {
  return Date.parse(memory.valid_from ?? memory.occurred_at ?? memory.recorded_at);
}

/** Returns when it stops holding, in milliseconds; Infinity where no end is known. */
export function ends(memory) {
  return memory.valid_to ? Date.parse(memory.valid_to) : Infinity;
}

/** Returns how a memory stands at a moment: a word for the style, and one to read. */
export function standing(memory, moment = Date.now()) {
  if (memory.retracted_at) return { word: "retracted", read: "said to have never been true" };
  if (memory.superseded_by && ends(memory) <= moment)
    return { word: "superseded", read: "superseded" };
  if (ends(memory) <= moment) return { word: "ended", read: "no longer holds" };
  if (begins(memory) > moment) return { word: "upcoming", read: "does not hold yet" };
  return { word: "current", read: "holds" };
}

export const count = (number) => number.toLocaleString("en-GB");
export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/** Returns a number with a real minus sign, and with a plus if asked. */
export function signed(number, digits = 2, plus = true) {
  const written = Math.abs(number).toFixed(digits);
  if (Number(written) === 0) return written;
  return `${number < 0 ? "\u2212" : plus ? "+" : ""}${written}`;
}

export function percent(share) {
  if (share > 0 && share < 0.01) return "<1 %";
  return `${Math.round(share * 100)} %`;
}

export function duration(seconds) {
  const milliseconds = seconds * 1000;
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${seconds.toFixed(1)} s`;
}

export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? number : number.toFixed(1)} ${units[unit]}`;
}

/** Returns an ISO 8601 duration or a number of seconds in days or hours; as it is, if it is neither. */
export function span(written) {
  const seconds = typeof written === "number" ? written : secondsOf(String(written));
  if (seconds === null) return String(written);
  if (seconds >= 86400) return plural(Math.round(seconds / 86400), "day");
  return plural(Math.round(seconds / 360) / 10, "hour");
}

function secondsOf(written) {
  const found = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$/.exec(written);
  if (!found) return null;
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}
