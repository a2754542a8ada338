// The Team tab: who labelled what and how fast, and how far people agree.

import { count, decimal, facts, follow, make, moment, parts, percent, seconds, table } from "./drawing.js";
import { begin, word } from "./words.js";

/** Called once by each of two Gradio components, with its root element and its channel for values. */
export async function mount(element, channel) {
  const root = await begin(element);
  if (root === null) return;
  const places = parts(root);
  if (places.people) follow(channel, (team) => drawTeam(places, team));
  else {
    places.said.textContent = word("team.computing");
    follow(channel, (answer) => drawAgreement(places, answer));
  }
}

function drawTeam(places, { people, total, everyone }) {
  places.alone.hidden = everyone;
  places.facts.replaceChildren(
    ...facts([
      [word("team.people"), count(total.people)],
      [word("team.labels"), count(total.labels)],
    ]),
  );
  const names = [...new Set(people.flatMap((person) => Object.keys(person.by_class)))].sort();
  const titles = ["name", "labels", "confirm", "correct", "skip", "median", "p90", "perMinute", "lastSeen"];
  const head = titles.map((title) => word(`team.${title}`));
  head.splice(2, 0, ...names);
  const rows = people.map((person) => [
    nameOf(person),
    count(person.labels),
    ...names.map((name) => count(person.by_class[name] ?? 0)),
    percent(person.confirm, 0),
    percent(person.correct, 0),
    percent(person.skip, 0),
    seconds(person.median_ms),
    seconds(person.p90_ms),
    decimal(person.per_minute, 1),
    moment(person.last_seen),
  ]);
  places.people.replaceChildren(table(word("team.heading"), head, rows, { empty: word("team.nobody") }));
}

function nameOf({ name, kind, me }) {
  const made = make("span", name);
  const about = me ? word("team.you") : kind === "person" ? "" : word("team.scripted");
  if (about) made.append(" ", make("span", about, "lb-soft"));
  return made;
}

function drawAgreement(places, { found, failed }) {
  const said = failed ? word("team.failed") : found === null ? word("team.nothingShared") : "";
  places.said.textContent = said;
  places.said.hidden = !said;
  places.alpha.replaceChildren(...(found ? facts(alpha(found)) : []));
  places.final.replaceChildren(...(found && found.people.length ? [withFinal(found.people)] : []));
  places.pairs.replaceChildren(...(found && found.pairs.length ? [pairs(found.pairs)] : []));
}

function alpha({ images, alpha: value }) {
  return [
    [word("team.alpha"), decimal(value), word(value === null ? "team.alphaNone" : "team.alphaAbout")],
    [word("team.shared"), count(images), word("team.sharedAbout")],
  ];
}

function withFinal(people) {
  const head = ["name", "images", "same", "kappa"].map((title) => word(`team.${title}`));
  const rows = people.map((person) => [person.name, count(person.images), percent(person.agreement), decimal(person.kappa)]);
  return table(word("team.withFinal"), head, rows);
}

function pairs(list) {
  const head = ["name", "other", "images", "same", "kappa"].map((title) => word(`team.${title}`));
  const rows = list.map(({ a, b, images, agreement, kappa }) => [a, b, count(images), percent(agreement), decimal(kappa)]);
  return table(word("team.pairs"), head, rows);
}
