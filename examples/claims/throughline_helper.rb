# Rails, as app/helpers/throughline_helper.rb:
#   throughline_claims({ site: 'shop', id: current_user.id.to_s, name: current_user.name }, ENV.fetch('THROUGHLINE_KEY'))
require 'json'
require 'openssl'

module ThroughlineHelper
  def throughline_claims(user, key)
    now = Time.now.to_i
    claims = { site: 'main', role: 'member', rooms: ['*'], iat: now, exp: now + 600 }.merge(user)
    throughline_sign(JSON.generate(claims), key)
  end

  def throughline_sign(json, key)
    p = [json].pack('m0').tr('+/', '-_').delete('=')
    "#{p}.#{OpenSSL::HMAC.hexdigest('SHA256', key, p)}"
  end
end
