import android.content.Context;
import com.example.chat.ChatSession;
import com.xiaomi.mimc.MIMCUser;

/** One life of a session: service, account and bearer are the arguments. */
public final class Run {
    public static void main(String[] given) throws Exception {
        ChatSession session = new ChatSession(given[0], given[1], new MIMCUser(), () -> given[2]);
        session.toForeground();
        session.addressByAccount(new Context());
        session.register("phone", "reg\\id\"1", "zh-Hans-CN");
        System.out.println("registered");
        System.in.read();
        session.signOut(new Context(), "phone");
    }
}
