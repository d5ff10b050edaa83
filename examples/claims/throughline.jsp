<%-- Not run by the tests: checked by reading against the vectors. ThroughlineClaims.java, which it calls, is run.
     ThroughlineClaims belongs into a package of yours (a JSP can't import what has none): here org.example. --%>
<%@ page contentType="text/html; charset=UTF-8" import="org.example.ThroughlineClaims" %>
<%
  // With claims in it a page must not be kept by a proxy.
  response.setHeader("Cache-Control", "private, no-store");
  String claims = ThroughlineClaims.of(
      request.getRemoteUser(), request.getRemoteUser(), System.getenv("THROUGHLINE_KEY"));
%>
<script src="/chat/widget.js" async data-site="main" data-room="lobby" data-claims="<%= claims %>"></script>
