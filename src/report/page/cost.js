// What the store asks in a month, now and with the choice, at the prices of the table.

const GB = 2 ** 30;
const LOCAL = "local disk";
const prices = new Map(D.prices.map((price) => [price.class, { ...price }]));
prices.set(LOCAL, { class: LOCAL, storage: 0 });

const defaultClass = D.store.storage_class || "STANDARD";
const classOf = (name) => name || defaultClass;
const priceOf = (name) => prices.get(classOf(name));

// Of what is stored already, by its own class.
function storedNow() {
  return D.store.stored.map((sum) => ({ price: priceOf(sum.class), bytes: sum.bytes, name: classOf(sum.class) }));
}

// Of what is stored now: between its classes by their bytes.
function priceNow() {
  const parts = storedNow().filter((part) => part.price && part.bytes > 0);
  const all = parts.reduce((total, part) => total + part.bytes, 0);
  if (all === 0) return priceOf("");
  const mean = (key) => parts.reduce((total, part) => total + part.price[key] * (part.bytes / all), 0);
  return { retrieval: mean("retrieval"), get: mean("get") };
}

function recallCost(price, bytes, number) {
  if (!price) return 0;
  return (bytes / GB) * price.retrieval + (number / 1000) * price.get;
}

function costs(sum) {
  const price = priceOf(choice.storageClass);
  const share = choice.share / 100;
  const storing = storedNow().reduce((total, part) => total + (part.bytes / GB) * (part.price ? part.price.storage : 0), 0);
  const sent = (sum.uploadBytes * choice.packed) / 100;
  const disk = prices.get(LOCAL).storage / GB;
  const presentPrice = priceNow();
  const recallsNow = recallCost(presentPrice, D.stubs.size_bytes * share, D.stubs.files * share);
  return {
    rows: [
      ["storage", storing, storing + (price ? (sent / GB) * price.storage : 0)],
      ["recalls", recallsNow, recallsNow + recallCost(price, sum.size * share, sum.files * share)],
      ["local disk", D.all.sum.local_bytes * disk, (D.all.sum.local_bytes - sum.local) * disk],
    ],
    once: price ? (Math.ceil(sent / D.store.pack_bytes) / 1000) * price.put : 0,
    sent,
    leastDays: price ? price.least_days : 0,
    unknown: [...new Set(storedNow().filter((part) => !part.price).map((part) => part.name))],
  };
}
