"""What the service is about, pure: no clock, no chance, no I/O.

callbacks  messages  offline_messages  alerts  jobs     from what MIMC posts to one alert for one device
devices  accounts  conversations                        where a person is reached, and what their phone shows
preferences  previews                                   what they ask of their alerts; how much an alert shows
delivery                                                whose alerts this service delivers
lanes  lane_state                                       a section's jobs of one channel; open, paused, ramping up
api_keys  bearers  idempotency                          the developer's own servers; calls that are made once
limits  quotas  service_state                           how often a caller may call; a service that is asked, or paused
webhooks  forwards                                      endpoints that get callbacks, and one on its way there
transfers  outcomes  decisions  settlements             a request, what its answer means, what we do, how it is stored
dead_letters  monitoring  times                         what waits for a person; what the operator sees; milliseconds
"""
