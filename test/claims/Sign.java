import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;

public final class Sign {
    public static void main(String[] args) throws Exception {
        for (String line : new String(System.in.readAllBytes(), UTF_8).split("\n")) {
            String[] fields = line.split("\t", -1);
            String json = fields[0].equals("json") ? fields[2] : jsonOf(fields);
            System.out.println(ThroughlineClaims.sign(json, fields[1]));
        }
    }

    private static String jsonOf(String[] of) {
        String avatar = of[5].isEmpty() ? null : of[5];
        long iat = Long.parseLong(of[8]);
        return ThroughlineClaims.json(
                of[2], of[3], of[4], avatar, of[6], Arrays.asList(of[7].split(",")), iat, Long.parseLong(of[9]));
    }
}
