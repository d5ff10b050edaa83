load ARGV[0]
include ThroughlineHelper

$stdin.set_encoding('UTF-8').each_line(chomp: true) do |line|
  what, key, *fields = line.split("\t", -1)
  if what == 'json'
    puts throughline_sign(fields[0], key)
  else
    site, id, name, avatar, role, rooms, iat, exp = fields
    user = { site: site, id: id, name: name, role: role, rooms: rooms.split(',') }
    user[:avatar] = avatar unless avatar.empty?
    puts throughline_claims(user.merge(iat: iat.to_i, exp: exp.to_i), key)
  end
end
