// The painter behind the page: explore.py, asked over HTTP. What an exported page uses in its place
// has the same functions.
const client = Math.random().toString(36).slice(2);

async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.status === 409) return null;               // a newer one took its place
  if (!answer.ok)
    throw Object.assign(new Error(await answer.text()), { busy: answer.status === 503 });
  return answer;
}

export const about = async () => (await ask("about")).json();

// An address of a picture, or null where a newer one was asked for in the same place.
export async function small(view, side, place) {
  const answer = await ask(`small?${view}&side=${side}&client=${client}&place=${place}`);
  return answer && URL.createObjectURL(await answer.blob());
}

// Addresses of files of a picture.
export const png = async (view) => URL.createObjectURL(await (await ask(`png?${view}`)).blob());
export const npz = async (view) => URL.createObjectURL(await (await ask(`npz?${view}`)).blob());

// [address, ending] of a film.
export async function film(stops, frames) {
  const body = [frames, ...stops].join("\n");
  return [URL.createObjectURL(await (await ask("film", { method: "POST", body })).blob()), "gif"];
}

export async function project(file, space, label) {
  const query = new URLSearchParams({ space, label });
  return (await (await ask(`project?${query}`, { method: "POST", body: file })).json()).name;
}

export const progress = async (name) => (await ask(`project?name=${name}`)).json();
