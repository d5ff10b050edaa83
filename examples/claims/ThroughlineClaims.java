import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.GeneralSecurityException;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Java 8 or later, without a library: ThroughlineClaims.of("shop", id, name, System.getenv("THROUGHLINE_KEY")). See throughline.jsp. */
public final class ThroughlineClaims {
    public static String of(String site, String id, String name, String key) throws GeneralSecurityException {
        long now = System.currentTimeMillis() / 1000;
        return sign(json(site, id, name, null, "member", Collections.singletonList("*"), now, now + 600), key);
    }

    /** avatar may be null; iat and exp are in seconds, and at most 600 apart. */
    public static String json(
            String site, String id, String name, String avatar, String role, List<String> rooms, long iat, long exp) {
        String names = rooms.stream().map(ThroughlineClaims::quote).collect(Collectors.joining(","));
        return "{\"site\":" + quote(site) + ",\"id\":" + quote(id) + ",\"name\":" + quote(name)
                + (avatar == null ? "" : ",\"avatar\":" + quote(avatar))
                + ",\"role\":" + quote(role) + ",\"rooms\":[" + names + "],\"iat\":" + iat + ",\"exp\":" + exp + "}";
    }

    public static String sign(String json, String key) throws GeneralSecurityException {
        String p = Base64.getUrlEncoder().withoutPadding().encodeToString(json.getBytes(UTF_8));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key.getBytes(UTF_8), "HmacSHA256"));
        StringBuilder signed = new StringBuilder(p).append('.');
        for (byte each : mac.doFinal(p.getBytes(UTF_8))) signed.append(String.format("%02x", each));
        return signed.toString();
    }

    /** All but plain ASCII is escaped, so that whatever is in a name, the JSON around it holds. */
    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each < ' ' || each > '~' || each == '"' || each == '\\') quoted.append(String.format("\\u%04x", (int) each));
            else quoted.append(each);
        }
        return quoted.append('"').toString();
    }
}
