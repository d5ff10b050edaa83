<%-- Not run by the tests: checked by reading against the vectors. ThroughlineClaims.java, which it calls, is run.
     ThroughlineClaims belongs into a package of yours (a JSP can't import what has none): here org.example. --%>
<%@ page contentType="text/html; charset=UTF-8" import="org.example.ThroughlineClaims" %>
<%
  // With claims in it a page must not be kept by a proxy.
  response.setHeader("Cache-Control", "private, no-store");
  String user = request.getRemoteUser();
  String key = System.getenv("THROUGHLINE_KEY");
  // Nobody is logged in: the chat takes visitors for guests.
  String claims = user == null || key == null ? "" : ThroughlineClaims.of("main", user, user, key);
%>
<script src="/chat/widget.js" async data-site="main" data-room="lobby" data-claims="<%= claims %>"></script>
