import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { throughlineClaims, throughlineSign } = await import(pathToFileURL(process.argv[2]).href);
for (const line of readFileSync(0, 'utf8').trimEnd().split('\n')) {
  const [what, key, ...fields] = line.split('\t');
  if (what === 'json') {
    console.log(throughlineSign(fields[0], key));
  } else {
    const [site, id, name, avatar, role, rooms, iat, exp] = fields;
    const user = { site, id, name, ...(avatar && { avatar }), role, rooms: rooms.split(',') };
    console.log(throughlineClaims({ ...user, iat: Number(iat), exp: Number(exp) }, key));
  }
}
